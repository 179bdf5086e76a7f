/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/links.h"
#include "hook/sandbox/record.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/record_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* --- the state directory --- */

Test(record, state_dir_modes)
{
    static const char *const parts[] = {"a",
                                        "a/state",
                                        "a/state/sandboxes",
                                        "a/state/containers",
                                        "a/state/parents",
                                        "a/state/sandboxes/s1"};
    FIXTURE f;
    struct state_lock lock;
    int top;

    umask(0);
    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    top = open(f.top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        cr_expect_eq(kit_mode_of(top, parts[i]), 0700, "%s: expected 0700, got %o", parts[i],
                     kit_mode_of(top, parts[i]));
    cr_expect_eq(kit_mode_of(lock.dirfd, "lock"), 0600, "lock: expected 0600, got %o",
                 kit_mode_of(lock.dirfd, "lock"));
    close(top);
    state_unlock(&lock);
}

Test(record, state_dir_missing)
{
    FIXTURE f;
    struct state_dir state;
    struct err e = ERR_INIT;
    char path[160];
    int r;

    kit_begin_state(&f);
    snprintf(path, sizeof path, "%s/no/such", f.top);
    r = state_dir_open(path, false, &state, &e);
    cr_expect(r == -ENOENT && strstr(e.text, path), "expected: -ENOENT and %s\ngot:      %d, %s",
              path, r, e.text);
    cr_expect(state.sandboxes < 0 && state.top < 0 && state.parents.dirfd < 0);
    cr_expect_not(kit_exists_at(AT_FDCWD, path), "it was made");
    /* the directory without its parts */
    err_reset(&e);
    r = state_dir_open(f.top, false, &state, &e);
    cr_expect(r == -ENOENT && strstr(e.text, f.top), "expected: -ENOENT and %s\ngot:      %d, %s",
              f.top, r, e.text);
    cr_expect(state.sandboxes < 0 && state.top < 0 && state.parents.dirfd < 0);
}

Test(record, state_dir_again)
{
    FIXTURE f;
    struct state_dir state;
    struct state_lock lock;
    struct err e = ERR_INIT;

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    state_unlock(&lock);
    for (int make = 0; make <= 1; make++) {
        cr_assert_eq(state_dir_open(f.path, make, &state, &e), 0, "make %d: %s", make, e.text);
        cr_expect(kit_exists_at(state.sandboxes, "s1"), "make %d: another directory", make);
        state_dir_close(&state);
        cr_expect(state.sandboxes < 0 && state.top < 0 && state.parents.dirfd < 0);
    }
}

/* A file or a link in the place of a part is not taken for it. */
Test(record, state_dir_parts_are_directories)
{
    static const char *const parts[] = {"sandboxes", "containers", "paths", "parents"};

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        for (int link = 0; link <= 1; link++) {
            FIXTURE f;
            struct state_dir state;
            struct err e = ERR_INIT;
            char path[160];
            int r;

            kit_begin_state(&f);
            snprintf(path, sizeof path, "%s/%s", f.path, parts[i]);
            cr_assert_eq(rmdir(path), 0);
            if (link)
                cr_assert_eq(symlink(f.top, path), 0);
            else
                close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
            r = state_dir_open(f.path, true, &state, &e);
            cr_expect(r < 0 && strstr(e.text, f.path) && state.sandboxes < 0 && state.top < 0 &&
                          state.parents.dirfd < 0,
                      "input:    %s is a %s\nexpected: refused with %s\ngot:      %d, %s", parts[i],
                      link ? "link" : "file", f.path, r, e.text);
        }
    }
}

/* Nor one that others may write to. */
Test(record, state_dir_parts_are_ours)
{
    static const char *const parts[] = {"", "sandboxes", "containers", "paths", "parents"};
    static const mode_t others[] = {0720, 0702};

    for (size_t i = 0; i < 2 * ARRAY_SIZE(parts); i++) {
        FIXTURE f;
        struct state_dir state;
        struct err e = ERR_INIT;
        char path[160];
        int r;

        kit_begin_state(&f);
        snprintf(path, sizeof path, "%s/%s", f.path, parts[i / 2]);
        cr_assert_eq(chmod(path, others[i % 2]), 0);
        r = state_dir_open(f.path, i % 2, &state, &e);
        cr_expect(r == -EPERM && strstr(e.text, f.path) && state.sandboxes < 0 && state.top < 0 &&
                      state.parents.dirfd < 0,
                  "\"%s\", mode %#o: got %d, %s", parts[i / 2], (unsigned)others[i % 2], r, e.text);
        cr_assert_eq(chmod(path, 0755), 0);
        cr_expect_eq(state_dir_open(f.path, false, &state, NULL), 0, "others may look");
        state_dir_close(&state);
    }
}

/* --- what is written reads back --- */

#define EVERYTHING                                                                                 \
    "'sandbox_id':'s1','sandbox_cgroup_only':false,'policy_source':'config','manager':'cgroupfs'," \
    "'mode':'v2','layout':'sibling','overhead_quota':'30000 50000','parent_path':'/p',"            \
    "'sandbox_path':'/p/kata_s1',"                                                                 \
    "'vcpu_path':'/p/kata_s1/kata_vcpu','overhead_path':'/p/kata_s1',"                             \
    "'watcher':{'pid':12,'start_time':34},"                                                        \
    "'containers':[{'id':'s1','bundle':'/b\\n\xc3\xa4','name':'n','pod':'p',"                      \
    "'pod_namespace':'s','init':{'pid':56,'start_time':"                                           \
    "18446744073709551615},'resources':{'devices':[{'allow':false,'access':'rwm'},"                \
    "{'allow':true,'type':'c','major':-1,'minor':7,'access':'r'}],"                                \
    "'cpu':{'shares':1,'quota':-1,'burst':2,'period':3,'realtimeRuntime':4,'realtimePeriod':5,"    \
    "'cpus':'0-1','mems':'0','idle':0},'memory':{'limit':6,'swap':-1,'swappiness':7,"              \
    "'disableOOMKiller':false},'pids':{'limit':8},'hugepageLimits':[{'pageSize':'2MB','limit':9}]" \
    ","                                                                                            \
    "'blockIO':{'weight':10,'weightDevice':[{'major':8,'minor':0,'weight':11}],"                   \
    "'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':12}]},"                                  \
    "'network':{'classID':13,'priorities':[{'name':'lo','priority':14}]},"                         \
    "'unified':{'memory.high':'15'}}},{'id':'c2','init':{'pid':78,'start_time':90}}]"

#define MINIMUM                                                                                    \
    "'sandbox_id':'s1','sandbox_cgroup_only':true,'manager':'cgroupfs','mode':'v1',"               \
    "'parent_path':'/p','sandbox_path':'/p/kata_s1','vcpu_path':'/p/kata_s1'"

/* With scopes, and the processes that keep them. */
#define SCOPES                                                                                     \
    "'sandbox_id':'s1','sandbox_cgroup_only':false,'manager':'systemd','mode':'v1',"               \
    "'parent_path':'/a.slice','sandbox_path':'/a.slice/p-kata_s1.scope',"                          \
    "'vcpu_path':'/a.slice/p-kata_s1.scope',"                                                      \
    "'overhead_path':'/kata.slice/kata-overhead.slice/kata-overhead-s1.scope',"                    \
    "'slice':'a.slice','sandbox_unit':'p-kata_s1.scope',"                                          \
    "'overhead_unit':'kata-overhead-s1.scope','made':true,'sandbox_invocation':'00ff',"            \
    "'overhead_invocation':'10','watcher':{'pid':12,'start_time':34},"                             \
    "'placeholder':{'pid':13,'start_time':35},"                                                    \
    "'containers':[{'id':'s1','init':{'pid':56,'start_time':1},"                                   \
    "'placeholder':{'pid':57,'start_time':2}},{'id':'c2','init':{'pid':78,'start_time':90}},"      \
    "{'id':'c3','init':{'pid':58,'start_time':3},'placeholder':{'pid':59,'start_time':4}}]"

#define NESTED_SPLIT                                                                               \
    "'sandbox_id':'s1','sandbox_cgroup_only':false,'manager':'cgroupfs','mode':'v2',"              \
    "'layout':'nested','parent_path':'/p','sandbox_path':'/p/c/kata_vcpu',"                        \
    "'vcpu_path':'/p/c/kata_vcpu','overhead_path':'/p/c'"

static const char *boot_id(void)
{
    static char text[64];

    cr_assert_gt(io_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", text, sizeof text), 0);
    return text;
}

static void put_record(const struct state_lock *lock, const char *text, size_t len)
{
    int fd = openat(lock->dirfd, "record.json", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    cr_assert(fd >= 0 && write(fd, text, len) == (ssize_t)len);
    close(fd);
}

/* The file of a schema and a boot, with more members. */
static char *make_file(struct arena *a, const char *schema, const char *boot, const char *members)
{
    return arena_printf(a, "{\"schema\":%s,\"boot_id\":\"%s\",%s}", schema, boot,
                        kit_json(a, members));
}

static const char *json_of(struct arena *a, const struct record *r)
{
    struct json_writer *w = json_writer_new(false);
    const char *text;

    record_write_json(w, NULL, r);
    text = arena_strdup(a, json_writer_text(w, NULL));
    json_writer_free(w);
    return text;
}

#define FILES ",'sandbox_files':{'cpu.max':'max 100000','io.max':'8:0 rbps=1'}"

/* One whose word is known and one whose is not. */
#define FENCE ",'fence':[{'path':'/s/c','cpu_max':'50000 100000'},{'path':'/s'}],'cpu_enabled':true"

#define DEVICES                                                                                    \
    ",'devices':[{'allow':true,'type':'c','major':10,'minor':229,'access':'rwm'},"                 \
    "{'allow':false,'type':'b','major':7,'access':'w'}]"

Test(record, round_trip)
{
    static const char *const members[] = {EVERYTHING FILES DEVICES FENCE, MINIMUM, SCOPES};

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        autoarena a = ARENA_INIT;
        FIXTURE f;
        struct state_lock lock;
        struct record one, two;
        enum record_state state = RECORD_NONE;
        struct err e = ERR_INIT;
        char *file = make_file(&a, "4", boot_id(), members[i]);

        kit_begin_state(&f);
        lock = kit_lock(&f, "s1", true);
        put_record(&lock, file, strlen(file));
        cr_assert_eq(record_read(&lock, &a, &one, &state, &e), 0, "%s", e.text);
        cr_expect_eq(state, RECORD_VALID);
        cr_expect_str_eq(json_of(&a, &one), file, "written:  %s\ngot:      %s", file,
                         json_of(&a, &one));
        /* whatever stands there, the writer knows schema and boot id */
        one.schema.value = 77;
        one.boot_id = arena_strdup(&a, "another");
        cr_assert_eq(record_write(&lock, &a, &one, &e), 0, "%s", e.text);
        cr_assert_eq(record_read(&lock, &a, &two, &state, &e), 0, "%s", e.text);
        cr_expect_eq(state, RECORD_VALID);
        cr_expect_str_eq(json_of(&a, &two), file, "written:  %s\ngot:      %s", file,
                         json_of(&a, &two));
        state_unlock(&lock);
    }
}

/* Every member of a scope's record is where the program looks for it. */
Test(record, scopes)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct state_lock lock;
    struct record r;
    struct record_container *c;
    enum record_state state = RECORD_NONE;
    struct err e = ERR_INIT;
    char *file = make_file(&a, "1", boot_id(), SCOPES);

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    put_record(&lock, file, strlen(file));
    cr_assert_eq(record_read(&lock, &a, &r, &state, &e), 0, "%s", e.text);
    cr_expect_str_eq(r.vcpu_path, "/a.slice/p-kata_s1.scope");
    cr_expect_str_eq(r.slice, "a.slice");
    cr_expect_str_eq(r.sandbox_unit, "p-kata_s1.scope");
    cr_expect_str_eq(r.overhead_unit, "kata-overhead-s1.scope");
    cr_expect(record_process_id(r.placeholder).pid == 13 &&
              record_process_id(r.placeholder).start_time == 35);
    /* each container has its own, or none */
    c = record_find(&r, "s1");
    cr_assert(c && c->placeholder);
    cr_expect(record_process_id(c->placeholder).pid == 57 &&
              record_process_id(c->placeholder).start_time == 2 &&
              record_process_id(c->init).pid == 56);
    c = record_find(&r, "c2");
    cr_expect(c && !c->placeholder && record_process_id(c->placeholder).pid == 0);
    c = record_find(&r, "c3");
    cr_expect(c && record_process_id(c->placeholder).pid == 59);
    state_unlock(&lock);
}

/* A placeholder is no sign of life: it may be the last to go. */
Test(record, placeholders_are_not_alive)
{
    autoarena a = ARENA_INIT;
    struct record_container container = {.id = kit_json(&a, "c1")};
    struct record r = {.containers = {&container, 1}};
    struct proc_id self;

    cr_assert_eq(proc_identify(getpid(), &self), 0);
    container.placeholder = r.placeholder = r.watcher = record_process_new(&a, &self);
    cr_expect_eq(record_is_alive(&r), 0);
    container.init = container.placeholder;
    cr_expect_eq(record_is_alive(&r), 1);
}

Test(record, file_mode_and_nothing_temporary)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct state_lock lock;
    struct err e = ERR_INIT;
    struct record r = {
        .sandbox_id = kit_json(&a, "s1"),
        .sandbox_cgroup_only = {true, true},
        .manager = kit_json(&a, "cgroupfs"),
        .mode = kit_json(&a, "v1"),
        .parent_path = kit_json(&a, "/p"),
        .sandbox_path = kit_json(&a, "/p/s"),
        .vcpu_path = kit_json(&a, "/p/s"),
    };

    umask(0);
    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(record_write(&lock, &a, &r, &e), 0, "%s", e.text);
        cr_expect_eq(kit_mode_of(lock.dirfd, "record.json"), 0600, "expected 0600, got %o",
                     kit_mode_of(lock.dirfd, "record.json"));
        cr_expect_not(kit_exists_at(lock.dirfd, "record.json.tmp"));
    }
    state_unlock(&lock);
}

Test(record, write_fails_without_its_directory)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct state_lock lock;
    struct err e = ERR_INIT;
    struct record r = {.sandbox_id = kit_json(&a, "s1")};
    int ret;

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    unlinkat(lock.dirfd, "lock", 0);
    cr_assert_eq(unlinkat(f.state.sandboxes, "s1", AT_REMOVEDIR), 0);
    ret = record_write(&lock, &a, &r, &e);
    cr_expect(ret == -ENOENT && strstr(e.text, "record.json") && strstr(e.text, "s1"),
              "expected: -ENOENT with file and sandbox\ngot:      %d, %s", ret, e.text);
    state_unlock(&lock);
}

/* What could not be read again is not written, and what was there stays. */
Test(record, too_much_for_its_reader)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct state_lock lock;
    struct record r, again;
    enum record_state state = RECORD_NONE;
    struct err e = ERR_INIT;
    char *file = make_file(&a, "3", boot_id(), EVERYTHING);

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    put_record(&lock, file, strlen(file));
    cr_assert_eq(record_read(&lock, &a, &r, &state, &e), 0, "%s", e.text);
    while (r.sandbox_files.count < JSON_MAX_ELEMENTS)
        JSON_APPEND(&a, r.sandbox_files, struct json_pair) = (struct json_pair){
            arena_printf(&a, "%zu", r.sandbox_files.count), arena_strdup(&a, "")};
    cr_expect_eq(record_write(&lock, &a, &r, &e), 0, "%s", e.text);
    JSON_APPEND(&a, r.sandbox_files, struct json_pair) =
        (struct json_pair){arena_strdup(&a, "more"), arena_strdup(&a, "")};
    cr_expect_eq(record_write(&lock, &a, &r, &e), -EINVAL);
    cr_expect(strstr(e.text, "sandbox_files: expected at most 16384 elements"), "%s", e.text);
    cr_expect_eq(record_read(&lock, &a, &again, &state, NULL), 0);
    cr_expect_eq(again.sandbox_files.count, JSON_MAX_ELEMENTS);
    state_unlock(&lock);
}

/* --- records that are not ours to trust --- */

#define HERE "boot id of this boot"

static const struct {
    const char *schema, *boot, *members;
    enum record_state want;
} trusted[] = {
    {"1", HERE, MINIMUM, RECORD_VALID},
    {"2", HERE, MINIMUM, RECORD_VALID},
    {"3", HERE, MINIMUM, RECORD_VALID},
    {"4", HERE, MINIMUM, RECORD_VALID},
    {"2", HERE, MINIMUM ",'sandbox_files':{'a':'b'}", RECORD_VALID},
    {"2", HERE, MINIMUM ",'overhead_files':{'a':'b'}", RECORD_VALID},
    {"1", HERE, MINIMUM ",'later_member':{'x':[1]}", RECORD_VALID},
    {"1", HERE, MINIMUM ",'containers':[]", RECORD_VALID},
    {"1", HERE, MINIMUM ",'overhead_path':'/o'", RECORD_VALID},
    {"1", HERE, MINIMUM ",'slice':'a.slice'", RECORD_VALID},
    {"1", HERE, MINIMUM ",'slice':'a.slice','sandbox_unit':'p-kata_s1.scope'", RECORD_VALID},
    {"1", HERE, SCOPES, RECORD_VALID},
    {"1", "00000000-0000-0000-0000-000000000000", MINIMUM, RECORD_OTHER_BOOT},
    {"1", "", EVERYTHING, RECORD_OTHER_BOOT},
};

Test(record, boots)
{
    for (size_t i = 0; i < ARRAY_SIZE(trusted); i++) {
        autoarena a = ARENA_INIT;
        FIXTURE f;
        struct state_lock lock;
        struct record record;
        enum record_state state = RECORD_NONE;
        struct err e = ERR_INIT;
        const char *boot = str_eq(trusted[i].boot, HERE) ? boot_id() : trusted[i].boot;
        char *file = make_file(&a, trusted[i].schema, boot, trusted[i].members);
        int r;

        kit_begin_state(&f);
        lock = kit_lock(&f, "s1", true);
        put_record(&lock, file, strlen(file));
        r = record_read(&lock, &a, &record, &state, &e);
        cr_expect(r == 0 && state == trusted[i].want,
                  "input:    %s\nexpected: state %d\ngot:      %d, state %d, %s", file,
                  (int)trusted[i].want, r, (int)state, e.text);
        state_unlock(&lock);
    }
}

/* Layout sibling was split at once before schema 3: what such a record does not say is that. */
Test(record, splits_before_schema_3)
{
    static const struct {
        const char *schema, *members;
        bool begun, enabled;
    } rows[] = {
        {"1", EVERYTHING, true, false},
        {"2", EVERYTHING, true, false},
        {"3", EVERYTHING, false, false},
        {"2", SCOPES, true, false},
        {"3", SCOPES, false, false},
        {"3", EVERYTHING FENCE, true, true},
        {"4", EVERYTHING, false, false},
        {"2", MINIMUM, false, false},
        {"2", MINIMUM ",'layout':'nested'", false, false},
        {"2", NESTED_SPLIT, false, false},
        {"2", NESTED_SPLIT ",'cpu_enabled':true", true, true},
        {"2", NESTED_SPLIT ",'cpu_enabled':false", true, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        FIXTURE f;
        struct state_lock lock;
        struct record r;
        enum record_state state = RECORD_NONE;
        struct err e = ERR_INIT;
        char *file = make_file(&a, rows[i].schema, boot_id(), rows[i].members);

        kit_begin_state(&f);
        lock = kit_lock(&f, "s1", true);
        put_record(&lock, file, strlen(file));
        cr_assert_eq(record_read(&lock, &a, &r, &state, &e), 0, "%s", e.text);
        cr_expect(r.cpu_enabled.set == rows[i].begun && r.cpu_enabled.value == rows[i].enabled,
                  "%s: begun %d, enabled %d", file, r.cpu_enabled.set, r.cpu_enabled.value);
        /* It says so itself since schema 4. */
        cr_expect_eq(r.made.value, rows[i].schema[0] < '4', "%s", file);
        state_unlock(&lock);
    }
}

static const struct {
    const char *schema, *members, *word;
} untrusted[] = {
    {"0", MINIMUM, "schema 0"},
    {"5", MINIMUM, "schema 5"},
    {"2147483647", EVERYTHING, "schema 2147483647"},
    {"null", MINIMUM, "schema"},
    {"'1'", MINIMUM, "schema"},
    {"-1", MINIMUM, "schema"},
    /* each member that later steps rely on */
    {"1",
     "'sandbox_cgroup_only':true,'manager':'cgroupfs','mode':'v1','parent_path':'/p',"
     "'sandbox_path':'/p/s','vcpu_path':'/p/s'",
     "missing"},
    {"1",
     "'sandbox_id':'s1','manager':'cgroupfs','mode':'v1','parent_path':'/p',"
     "'sandbox_path':'/p/s','vcpu_path':'/p/s','overhead_path':'/o'",
     "missing"},
    {"1",
     "'sandbox_id':'s1','sandbox_cgroup_only':true,'mode':'v1','parent_path':'/p',"
     "'sandbox_path':'/p/s','vcpu_path':'/p/s'",
     "missing"},
    {"1",
     "'sandbox_id':'s1','sandbox_cgroup_only':true,'manager':'cgroupfs','parent_path':'/p',"
     "'sandbox_path':'/p/s','vcpu_path':'/p/s'",
     "missing"},
    {"1",
     "'sandbox_id':'s1','sandbox_cgroup_only':true,'manager':'cgroupfs','mode':'v1',"
     "'sandbox_path':'/p/s','vcpu_path':'/p/s'",
     "missing"},
    {"1",
     "'sandbox_id':'s1','sandbox_cgroup_only':true,'manager':'cgroupfs','mode':'v1',"
     "'parent_path':'/p','vcpu_path':'/p/s'",
     "missing"},
    {"1",
     "'sandbox_id':'s1','sandbox_cgroup_only':false,'manager':'cgroupfs','mode':'v1',"
     "'parent_path':'/p','sandbox_path':'/p/s','vcpu_path':'/p/s'",
     "missing"},
    {"1",
     "'sandbox_id':'s1','sandbox_cgroup_only':true,'manager':'cgroupfs','mode':'v1',"
     "'parent_path':'/p','sandbox_path':'/p/s'",
     "missing"},
    {"1", MINIMUM ",'sandbox_unit':'p-kata_s1.scope'", "missing"},
    {"1", MINIMUM ",'sandbox_unit':'p-kata_s1.scope','slice':null", "missing"},
    {"1", MINIMUM ",'slice':5", "slice"},
    {"1", MINIMUM ",'placeholder':'x'", "placeholder"},
    {"1", MINIMUM ",'containers':[{'id':'c','init':{'pid':1},'placeholder':{'pid':-1}}]", "pid"},
    {"1", MINIMUM ",'containers':[{'init':{'pid':1,'start_time':2}}]", "missing"},
    {"1", MINIMUM ",'containers':[{'id':'c'}]", "missing"},
    {"1", MINIMUM ",'containers':[{'id':'c','init':{'pid':1}},{'id':'d'}]", "missing"},
    {"1", MINIMUM ",'containers':{}", "containers"},
    {"1", MINIMUM ",'containers':[{'id':'c','init':{'pid':-1}}]", "pid"},
    {"1", MINIMUM ",'containers':[{'id':'c','init':{'pid':2147483648}}]", "pid"},
    {"1", MINIMUM ",'watcher':5", "watcher"},
    {"2", MINIMUM ",'sandbox_files':[]", "sandbox_files"},
    {"2", MINIMUM ",'fence':{}", "fence"},
    {"4", MINIMUM ",'devices':{}", "devices"},
    {"4", MINIMUM ",'devices':[{'allow':true,'type':'x','access':'r'}]", "missing"},
    {"4", MINIMUM ",'devices':[{'allow':false,'type':'c','access':'read'}]", "missing"},
    {"2", MINIMUM ",'fence':[{'path':'/c','cpu_max':5}]", "cpu_max"},
    {"2", MINIMUM ",'fence':[{'path':'/c'},{'cpu_max':'max 100000'}]", "missing"},
    {"2", MINIMUM ",'cpu_enabled':1", "cpu_enabled"},
};

static void expect_untrusted(const char *file, size_t len, const char *word)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct state_lock lock;
    struct record record;
    enum record_state state = RECORD_VALID;
    struct err e = ERR_INIT;
    int r;

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    put_record(&lock, file, len);
    r = record_read(&lock, &a, &record, &state, &e);
    cr_expect(r == -EPROTO && state == RECORD_NONE && !e.bad_input &&
                  strstr(e.text, "record.json") && strstr(e.text, word),
              "input:    %.*s\nexpected: -EPROTO with record.json and \"%s\"\n"
              "got:      %d, state %d, bad input %d, %s",
              (int)len, file, word, r, (int)state, e.bad_input, e.text);
    /* without a place for the message */
    cr_expect_eq(record_read(&lock, &a, &record, &state, NULL), -EPROTO);
    state_unlock(&lock);
}

Test(record, other_schema_or_incomplete)
{
    for (size_t i = 0; i < ARRAY_SIZE(untrusted); i++) {
        autoarena a = ARENA_INIT;
        char *file =
            make_file(&a, kit_json(&a, untrusted[i].schema), boot_id(), untrusted[i].members);

        expect_untrusted(file, strlen(file), untrusted[i].word);
    }
    expect_untrusted("{}", 2, "schema");
}

Test(record, garbage)
{
    static const char *const texts[] = {"", "\n", "[]", "garbage", "{} {}", "{\"schema\":1}}"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        expect_untrusted(texts[i], strlen(texts[i]), "");
    expect_untrusted("\0\0\0\0", 4, "");
}

/* Every prefix of a record is refused. */
Test(record, truncated)
{
    autoarena a = ARENA_INIT;
    char *file = make_file(&a, "1", boot_id(), MINIMUM);

    for (size_t len = 0; len < strlen(file); len++)
        expect_untrusted(file, len, "");
}

Test(record, no_boot_id)
{
    autoarena a = ARENA_INIT;
    char *file = arena_printf(&a, "{\"schema\":1,%s}", kit_json(&a, MINIMUM));

    expect_untrusted(file, strlen(file), "missing");
}

Test(record, none_yet)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct state_lock lock;
    struct record record;
    enum record_state state = RECORD_VALID;
    struct err e = ERR_INIT;

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    cr_expect_eq(record_read(&lock, &a, &record, &state, &e), 0, "%s", e.text);
    cr_expect_eq(state, RECORD_NONE);
    cr_expect(record.containers.count == 0 && !record.sandbox_id);
    state_unlock(&lock);
}

/* A link in the record's place is not followed. */
Test(record, link_in_its_place)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct state_lock lock;
    struct record record;
    enum record_state state = RECORD_VALID;
    struct err e = ERR_INIT;
    char *file = make_file(&a, "1", boot_id(), MINIMUM);
    int r;

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    put_record(&lock, file, strlen(file));
    cr_assert_eq(renameat(lock.dirfd, "record.json", lock.dirfd, "elsewhere"), 0);
    cr_assert_eq(symlinkat("elsewhere", lock.dirfd, "record.json"), 0);
    r = record_read(&lock, &a, &record, &state, &e);
    cr_expect(r == -ELOOP && state == RECORD_NONE, "expected: -ELOOP\ngot:      %d, state %d", r,
              (int)state);
    state_unlock(&lock);
}

/* Whether it is the file that was read. */
Test(record, marked)
{
    struct record_mark mark = RECORD_MARK_INIT;
    struct state_lock lock;
    FIXTURE f;

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    record_mark(&mark, lock.dirfd);
    cr_expect_eq(mark.fd, FD_NONE);
    cr_expect_eq(record_is_marked(&mark, lock.dirfd, RECORD_FILE), -ENOENT);
    cr_assert_eq(io_replace_at(lock.dirfd, RECORD_FILE, "{}", 2), 0);
    cr_expect_eq(record_is_marked(&mark, lock.dirfd, RECORD_FILE), 0, "none is held");
    record_mark(&mark, lock.dirfd);
    cr_expect_eq(record_is_marked(&mark, lock.dirfd, RECORD_FILE), 1);
    cr_expect_eq(record_is_marked(&mark, f.state.sandboxes, "s1/" RECORD_FILE), 1);
    cr_expect_eq(record_is_marked(&mark, mark.fd, RECORD_FILE), -ENOTDIR);
    /* The same words in another file, also where numbers of files come round. */
    for (unsigned i = 0; i < 64; i++) {
        cr_assert_eq(io_replace_at(lock.dirfd, RECORD_FILE, "{}", 2), 0);
        cr_expect_eq(record_is_marked(&mark, lock.dirfd, RECORD_FILE), 0, "write %u", i);
    }
    record_mark(&mark, lock.dirfd);
    cr_expect_eq(record_is_marked(&mark, lock.dirfd, RECORD_FILE), 1, "the last one");
    cr_assert_eq(unlinkat(lock.dirfd, RECORD_FILE, 0), 0);
    record_mark(&mark, lock.dirfd);
    cr_expect_eq(mark.fd, FD_NONE, "none any more");
    state_unlock(&lock);
}

/* --- members --- */

Test(record, find_and_alive)
{
    autoarena a = ARENA_INIT;
    struct proc_id self, none = record_process_id(NULL);
    struct record_container containers[2] = {{.id = kit_json(&a, "c1")},
                                             {.id = kit_json(&a, "c2")}};
    struct record r = {.containers = {containers, 2}};
    struct json_list others, living;
    int alive;

    cr_assert_eq(proc_identify(getpid(), &self), 0);
    cr_expect_eq(none.pid, 0);
    cr_expect_eq(record_find(&r, "c1"), &containers[0]);
    cr_expect_eq(record_find(&r, "c2"), &containers[1]);
    cr_expect_null(record_find(&r, "c"));
    cr_expect_null(record_find(&(struct record){0}, "c1"));
    cr_expect_eq(record_is_alive(&(struct record){0}), 0, "a record without containers");
    cr_expect_eq(record_is_alive(&r), 0, "containers without a process");
    containers[1].init = record_process_new(&a, &self);
    cr_expect(containers[1].init->pid.set && containers[1].init->start_time.set);
    cr_expect_eq(record_process_id(containers[1].init).pid, self.pid);
    cr_expect_eq(record_process_id(containers[1].init).start_time, self.start_time);
    cr_expect_eq(record_is_alive(&r), 1, "the second container's process lives");
    kit_blind();
    alive = record_is_alive(&r);
    cr_expect_eq(record_others(&r, "c1", &a, &others, &living), -EMFILE);
    kit_see();
    cr_expect_eq(alive, -EMFILE, "got %d", alive);
    cr_expect(others.count == 0 && living.count == 0);
    containers[1].init->start_time.value++;
    cr_expect_eq(record_is_alive(&r), 0, "a successor with the same pid is another process");
}

/* --- links from containers to sandboxes --- */

Test(record, links)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct state_lock lock;
    struct err e = ERR_INIT;
    const char *id = "unchanged";

    kit_begin_state(&f);
    cr_expect_eq(state_lookup(&f.state, "c1", &a, &id), -ENOENT);
    cr_assert_eq(links_add_container(&f.state, "c1", "s1", &e), 0, "%s", e.text);
    cr_expect_eq(state_lookup(&f.state, "c1", &a, &id), 0);
    cr_expect_str_eq(id, "s1");
    /* again, and to another sandbox */
    cr_assert_eq(links_add_container(&f.state, "c1", "s1", &e), 0, "%s", e.text);
    cr_assert_eq(links_add_container(&f.state, "c1", "s2", &e), 0, "%s", e.text);
    cr_expect_eq(state_lookup(&f.state, "c1", &a, &id), 0);
    cr_expect_str_eq(id, "s2");
    /* a sandbox of the container's own name may be another's, until it is said to be its own */
    lock = kit_lock(&f, "c1", true);
    state_unlock(&lock);
    cr_expect_eq(state_lookup(&f.state, "c1", &a, &id), 0);
    cr_expect_str_eq(id, "s2");
    cr_assert_eq(links_add_container(&f.state, "c1", "c1", &e), 0, "%s", e.text);
    cr_expect_eq(state_lookup(&f.state, "c1", &a, &id), 0);
    cr_expect_str_eq(id, "c1");
    /* forgotten, twice */
    links_drop_container(&f.state, "c1", NULL);
    links_drop_container(&f.state, "c1", NULL);
    cr_assert_eq(unlinkat(f.state.sandboxes, "c1/lock", 0), 0);
    cr_assert_eq(unlinkat(f.state.sandboxes, "c1", AT_REMOVEDIR), 0);
    cr_expect_eq(state_lookup(&f.state, "c1", &a, &id), -ENOENT);
    /* the same id needs no link */
    cr_assert_eq(links_add_container(&f.state, "s3", "s3", &e), 0, "%s", e.text);
    cr_expect_not(kit_exists_at(f.state.top, "containers/s3"));
}

Test(record, link_fails)
{
    FIXTURE f;
    struct err e = ERR_INIT;
    int r;

    kit_begin_state(&f);
    cr_assert_eq(mkdirat(f.state.top, "containers/c1", 0700), 0);
    r = links_add_container(&f.state, "c1", "s1", &e);
    cr_expect(r < 0 && strstr(e.text, "container c1"), "expected: a failure\ngot:      %d, %s", r,
              e.text);
}

#define LONG_64 "0123456789012345678901234567890123456789012345678901234567890123"

Test(record, hostile_links)
{
    static const struct {
        const char *target;
        bool good;
    } rows[] = {
        {"s1", true},
        {"..s1", true},
        {"...", true},
        {"s1.json", true},
        {LONG_64 LONG_64 LONG_64 "012345678901234567890123456789012345678901234567890123456789012",
         true}, /* 255 bytes */
        {LONG_64 LONG_64 LONG_64 LONG_64, false},
        {LONG_64 LONG_64 LONG_64 LONG_64 "0", false},
        {"..", false},
        {".", false},
        {"/", false},
        {"/etc", false},
        {"../sandboxes/s1", false},
        {"s1/", false},
        {"s1/record.json", false},
        {"./s1", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        FIXTURE f;
        const char *id = "unchanged";
        int r;

        kit_begin_state(&f);
        cr_assert_eq(symlinkat(rows[i].target, f.state.top, "containers/c1"), 0);
        r = state_lookup(&f.state, "c1", &a, &id);
        cr_expect(rows[i].good ? r == 0 && str_eq(id, rows[i].target) : r == -ENOENT,
                  "input:    a link to \"%s\"\nexpected: %s\ngot:      %d, %s", rows[i].target,
                  rows[i].good ? rows[i].target : "-ENOENT", r, id);
    }
}

/* No link at all in its place. */
Test(record, lookup_of_what_is_no_link)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    const char *id;

    kit_begin_state(&f);
    cr_assert_eq(mkdirat(f.state.top, "containers/dir", 0700), 0);
    close(openat(f.state.top, "containers/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    cr_expect_eq(state_lookup(&f.state, "dir", &a, &id), -ENOENT);
    cr_expect_eq(state_lookup(&f.state, "file", &a, &id), -ENOENT);
}

/* --- the list --- */

Test(record, list)
{
    static const char *const names[] = {"..x", ".hidden", "a", "b", "c"};
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct err e = ERR_INIT;
    const char **ids;
    size_t count = 7;

    kit_begin_state(&f);
    cr_assert_eq(state_list(&f.state, &a, &ids, &count, &e), 0, "%s", e.text);
    cr_expect_eq(count, 0, "an empty directory has %zu", count);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) { /* some order that is not theirs */
        struct state_lock lock = kit_lock(&f, names[(i * 3 + 4) % ARRAY_SIZE(names)], true);

        state_unlock(&lock);
    }
    cr_assert_eq(state_list(&f.state, &a, &ids, &count, &e), 0, "%s", e.text);
    cr_assert_eq(count, ARRAY_SIZE(names), "expected: %zu\ngot:      %zu", ARRAY_SIZE(names),
                 count);
    for (size_t i = 0; i < count; i++)
        cr_expect_str_eq(ids[i], names[i]);
}

/* Each name has its turn, none comes twice, and no more than there are. */
Test(record, sample)
{
    static const char *const names[] = {"..x", ".hidden", "a", "b", "c"};
    unsigned seen[ARRAY_SIZE(names)] = {0};
    char ids[ARRAY_SIZE(names) + 1][NAME_MAX + 1];
    FIXTURE f;

    kit_begin_state(&f);
    cr_expect_eq(state_sample(&f.state, 2, ids), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct state_lock lock = kit_lock(&f, names[i], true);

        state_unlock(&lock);
    }
    cr_expect_eq(state_sample(&f.state, ARRAY_SIZE(ids), ids), ARRAY_SIZE(names));
    for (unsigned n = 0; n < 1000; n++) {
        cr_assert_eq(state_sample(&f.state, 2, ids), 2);
        cr_assert_str_neq(ids[0], ids[1]);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
            seen[i] += str_eq(ids[0], names[i]) || str_eq(ids[1], names[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        cr_expect(seen[i] > 200 && seen[i] < 600, "%s: %u of 1000 times", names[i], seen[i]);
}

/* A link that names another sandbox by now stays. */
Test(record, unlink_only_its_own)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    const char *id;

    kit_begin_state(&f);
    cr_assert_eq(links_add_container(&f.state, "c1", "new", NULL), 0);
    links_drop_container(&f.state, "c1", "old");
    cr_assert_eq(state_lookup(&f.state, "c1", &a, &id), 0);
    cr_expect_str_eq(id, "new");
    links_drop_container(&f.state, "c1", "new");
    cr_expect_eq(state_lookup(&f.state, "c1", &a, &id), -ENOENT);
}

Test(record, list_fails)
{
    autoarena a = ARENA_INIT;
    struct state_dir state = STATE_DIR_INIT;
    struct err e = ERR_INIT;
    const char **ids;
    size_t count = 7;
    int r = state_list(&state, &a, &ids, &count, &e);

    cr_expect(r == -EBADF && count == 0 && e.code == -EBADF,
              "expected: -EBADF\ngot:      %d, %zu ids, %s", r, count, e.text);
}
