/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/record.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/plan/device_list.h"
#include "hook/plan/settings.h"
#include "hook/sandbox/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define RECORD_MAX_BYTES ((size_t)64 << 20)

static const struct json_field process_fields[] = {
    JSON_F_I64("pid", struct record_process, pid, 0, INT32_MAX),
    JSON_F_U64("start_time", struct record_process, start_time, UINT64_MAX),
};
static const struct json_table process_table = JSON_TABLE(process_fields, struct record_process);

static const struct json_field container_fields[] = {
    JSON_F_STRING("id", struct record_container, id),
    JSON_F_STRING("bundle", struct record_container, bundle),
    JSON_F_STRING("name", struct record_container, name),
    JSON_F_STRING("pod", struct record_container, pod),
    JSON_F_STRING("pod_namespace", struct record_container, pod_namespace),
    JSON_F_OBJECT("init", struct record_container, init, &process_table),
    JSON_F_OBJECT("placeholder", struct record_container, placeholder, &process_table),
    JSON_F_STRING("runtime_path", struct record_container, runtime_path),
    JSON_F_OBJECT("resources", struct record_container, resources, &oci_resources_table),
    JSON_F_STRING("mounts", struct record_container, mounts),
    JSON_F_U64("runtime_print", struct record_container, runtime_print, UINT64_MAX),
};
static const struct json_table container_table =
    JSON_TABLE(container_fields, struct record_container);

static const struct json_field fence_fields[] = {
    JSON_F_STRING("path", struct record_fence, path),
    JSON_F_STRING("cpu_max", struct record_fence, cpu_max),
};
static const struct json_table fence_table = JSON_TABLE(fence_fields, struct record_fence);

static const struct json_field record_fields[] = {
    JSON_F_I64("schema", struct record, schema, 0, INT32_MAX),
    JSON_F_STRING("boot_id", struct record, boot_id),
    JSON_F_STRING("sandbox_id", struct record, sandbox_id),
    JSON_F_BOOL("sandbox_cgroup_only", struct record, sandbox_cgroup_only),
    JSON_F_STRING("policy_source", struct record, policy_source),
    JSON_F_STRING("manager", struct record, manager),
    JSON_F_STRING("mode", struct record, mode),
    JSON_F_STRING("layout", struct record, layout),
    JSON_F_STRING("layout_warning", struct record, layout_warning),
    JSON_F_BOOL("enable_vcpus_pinning", struct record, enable_vcpus_pinning),
    JSON_F_STRING("overhead_quota", struct record, overhead_quota),
    JSON_F_STRING("parent_path", struct record, parent_path),
    JSON_F_STRING("sandbox_path", struct record, sandbox_path),
    JSON_F_STRING("vcpu_path", struct record, vcpu_path),
    JSON_F_STRING("overhead_path", struct record, overhead_path),
    JSON_F_STRING("slice", struct record, slice),
    JSON_F_STRING("sandbox_unit", struct record, sandbox_unit),
    JSON_F_STRING("overhead_unit", struct record, overhead_unit),
    JSON_F_BOOL("made", struct record, made),
    JSON_F_STRING("sandbox_invocation", struct record, sandbox_invocation),
    JSON_F_STRING("overhead_invocation", struct record, overhead_invocation),
    JSON_F_OBJECT("watcher", struct record, watcher, &process_table),
    JSON_F_OBJECT("placeholder", struct record, placeholder, &process_table),
    JSON_F_OBJECT_LIST("containers", struct record, containers, &container_table),
    JSON_F_STRING_MAP("sandbox_files", struct record, sandbox_files),
    JSON_F_OBJECT_LIST("devices", struct record, devices, &oci_device_rule_table),
    JSON_F_OBJECT("updated", struct record, updated, &oci_resources_table),
    JSON_F_OBJECT_LIST("fence", struct record, fence, &fence_table),
    JSON_F_BOOL("cpu_enabled", struct record, cpu_enabled),
};
static const struct json_table record_table = JSON_TABLE(record_fields, struct record);

struct proc_id record_process_id(const struct record_process *p)
{
    return p ? (struct proc_id){(pid_t)p->pid.value, p->start_time.value} : (struct proc_id){0};
}

struct record_process *record_process_new(struct arena *a, const struct proc_id *id)
{
    struct record_process *p = arena_alloc(a, sizeof *p);

    p->pid = (struct json_i64){true, id->pid};
    p->start_time = (struct json_u64){true, id->start_time};
    return p;
}

struct record_container *record_find(const struct record *r, const char *container_id)
{
    for (size_t i = 0; i < r->containers.count; i++) {
        struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        if (c->id && str_eq(c->id, container_id))
            return c;
    }
    return NULL;
}

int record_container_is_alive(const struct record_container *c)
{
    struct proc_id init = record_process_id(c->init);

    return proc_alive(&init);
}

int record_others(const struct record *r, const char *container_id, struct arena *a,
                  struct json_list *ret_others, struct json_list *ret_alive)
{
    struct json_list others = {0}, alive = {0};

    *ret_others = *ret_alive = (struct json_list){0};
    for (size_t i = 0; i < r->containers.count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);
        int is_alive = record_container_is_alive(c);

        if (is_alive < 0)
            return is_alive;
        if (is_alive && str_eq(c->id, container_id))
            continue;
        JSON_APPEND(a, others, struct record_container) = *c;
        if (is_alive)
            JSON_APPEND(a, alive, struct record_container) = *c;
    }
    *ret_others = others;
    *ret_alive = alive;
    return 0;
}

struct json_list record_with_container(const struct json_list *containers,
                                       const struct record_container *c, struct arena *a)
{
    struct json_list list = {0};

    JSON_APPEND(a, list, struct record_container) = *c;
    for (size_t i = 0; i < containers->count; i++)
        JSON_APPEND(a, list, struct record_container) =
            JSON_AT(*containers, struct record_container, i);
    return list;
}

bool record_is_nested(const struct record *r)
{
    return r->layout && str_eq(r->layout, layout_name(LAYOUT_NESTED));
}

bool record_is_systemds(const struct record *r)
{
    return r->manager && str_eq(r->manager, "systemd");
}

int record_is_alive(const struct record *r)
{
    int unknown = 0;

    for (size_t i = 0; i < r->containers.count; i++) {
        int alive = record_container_is_alive(&JSON_AT(r->containers, struct record_container, i));

        if (alive > 0)
            return 1;
        unknown = alive < 0 ? alive : unknown;
    }
    return unknown;
}

/* A unit's name is one for the whole host, whatever the slice, and no clean path begins so. */
static const char *unit_name(const char *unit, struct arena *a)
{
    return unit ? arena_printf(a, "//%s", unit) : NULL;
}

size_t record_names(const struct record *r, struct arena *a,
                    const char *ret[static RECORD_NAMES_MAX])
{
    bool apart = r->overhead_path && r->sandbox_path && !str_eq(r->overhead_path, r->sandbox_path);
    const char *all[RECORD_NAMES_MAX] = {
        r->sandbox_path,
        apart ? r->overhead_path : NULL,
        unit_name(r->sandbox_unit, a),
        unit_name(r->overhead_unit, a),
    };
    size_t count = 0;

    for (size_t i = 0; i < RECORD_NAMES_MAX && !record_is_nested(r); i++) {
        if (all[i])
            ret[count++] = all[i];
    }
    return count;
}

/* The kernel's of this boot, which does not change while we run. 0; -errno. */
static int get_boot_id(const char **ret, struct err *e)
{
    static char id[64];
    ssize_t len =
        *id ? 0 : io_read_line_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", id, sizeof id);

    *ret = id;
    if (len >= 0)
        return 0;
    *id = '\0';
    return err_sys(e, (int)len, "cannot read /proc/sys/kernel/random/boot_id");
}

/* A denial that was not understood would be one less. */
static bool has_clear_devices(const struct record *r)
{
    const struct oci_resources words = {.devices = r->devices};
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules;

    return device_list_own(&words, &a, &rules, NULL) == 0;
}

/* Members that every step relies on. */
static bool is_complete(const struct record *r)
{
    if (!r->boot_id || !r->sandbox_id || !r->sandbox_path || !r->vcpu_path || !r->parent_path ||
        !r->mode || !r->manager || (r->sandbox_unit && !r->slice))
        return false;
    if (!r->sandbox_cgroup_only.set || (!r->sandbox_cgroup_only.value && !r->overhead_path))
        return false;
    for (size_t i = 0; i < r->containers.count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        if (!c->id || !c->init)
            return false;
    }
    for (size_t i = 0; i < r->fence.count; i++) {
        if (!JSON_AT(r->fence, struct record_fence, i).path)
            return false;
    }
    return has_clear_devices(r);
}

int record_read(const struct state_lock *lock, struct arena *a, struct record *ret,
                enum record_state *ret_state, struct err *e)
{
    const struct json_doc doc = {.table = &record_table, .dest = ret};
    autofd fd = openat(lock->dirfd, RECORD_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct err own = ERR_INIT;
    const char *boot_id;
    struct stat st;
    int r;

    *ret = (struct record){0};
    *ret_state = RECORD_NONE;
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return err_sys(e, -errno, "cannot open " RECORD_FILE);
    if (fstat(fd, &st) < 0)
        return err_sys(e, -errno, "cannot look at " RECORD_FILE);
    if (!state_is_ours(&st))
        return err_set(e, -EPERM,
                       RECORD_FILE " is another user's, or can be written by others: it is not "
                                   "believed");
    r = json_read_fd(fd, &doc, 1, RECORD_MAX_BYTES, 0, RECORD_FILE, a, &own);
    if (r < 0) /* what cannot be read is not damaged; and it is not what the runtime gave us */
        return err_set(e, own.bad_input ? -EPROTO : r, "%s", own.text);
    if (!ret->schema.set || ret->schema.value < 1 || ret->schema.value > RECORD_SCHEMA)
        return err_set(e, -EPROTO,
                       RECORD_FILE ": schema %lld is none of 1..%d: it is from another version of "
                                   "this program",
                       (long long)ret->schema.value, RECORD_SCHEMA);
    if (!is_complete(ret))
        return err_set(e, -EPROTO, RECORD_FILE ": members are missing");
    /* Before schema 4 nothing said what was made: it is believed that all was. */
    if (ret->schema.value < 4)
        ret->made = (struct json_bool){true, true};
    /* Before schema 3 layout sibling was split at once. */
    if (ret->schema.value < 3 && !record_is_nested(ret) && !ret->sandbox_cgroup_only.value)
        ret->cpu_enabled.set = true;
    r = get_boot_id(&boot_id, e);
    if (r < 0)
        return r;
    *ret_state = str_eq(boot_id, ret->boot_id) ? RECORD_VALID : RECORD_OTHER_BOOT;
    return 0;
}

void record_unmark(struct record_mark *m)
{
    fd_close(&m->fd);
    m->file = (struct stat){0};
}

void record_mark(struct record_mark *m, int dirfd)
{
    record_unmark(m);
    m->fd = openat(dirfd, RECORD_FILE, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (m->fd < 0 || fstat(m->fd, &m->file) < 0)
        record_unmark(m);
}

int record_is_marked(const struct record_mark *m, int dirfd, const char *path)
{
    struct stat now;

    if (fstatat(dirfd, path, &now, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return m->fd >= 0 && io_is_same_file(&now, &m->file);
}

void record_write_json(struct json_writer *w, const char *key, const struct record *r)
{
    json_write_table(w, key, &record_table, r);
}

/*
 * Whether record_read() takes it: one that could not be read again would be a sandbox that nobody
 * can remove. A short text cannot have too many elements, as each takes two bytes at least.
 */
static int check_readable(const char *text, size_t len, struct err *e)
{
    struct record again = {0};
    const struct json_doc doc = {.table = &record_table, .dest = &again};
    autoarena a = ARENA_INIT;
    int r;

    if (len > RECORD_MAX_BYTES)
        return err_set(e, -E2BIG, "its record would have %zu bytes, and may have %zu at most", len,
                       RECORD_MAX_BYTES);
    if (len <= 2 * (size_t)JSON_MAX_ELEMENTS)
        return 0;
    r = json_read_text(text, len, &doc, 1, 0, "its record", &a, e);
    return r < 0 ? r : 0;
}

int record_write(const struct state_lock *lock, struct arena *a, struct record *r, struct err *e)
{
    struct json_writer *w;
    const char *boot_id, *text;
    size_t len;
    int ret = get_boot_id(&boot_id, e);

    if (ret < 0)
        return ret;
    r->schema = (struct json_i64){true, RECORD_SCHEMA};
    r->boot_id = arena_strdup(a, boot_id);
    w = json_writer_new(false);
    record_write_json(w, NULL, r);
    text = json_writer_text(w, &len);
    ret = check_readable(text, len, e);
    if (ret < 0) {
        json_writer_free(w);
        return ret;
    }
    ret = io_replace_at(lock->dirfd, RECORD_FILE, text, len);
    json_writer_free(w);
    if (ret < 0)
        return err_sys(e, ret, "cannot write " RECORD_FILE " of sandbox %s", r->sandbox_id);
    return 0;
}

int record_layout(const char *state_dir, const char *container_id, struct arena *a,
                  enum layout_word *ret, struct err *e)
{
    struct state_dir state = STATE_DIR_INIT;
    struct state_lock look = STATE_LOCK_INIT;
    enum record_state found = RECORD_NONE;
    const struct record_container *own;
    const char *sandbox_id;
    struct record record;
    int r = cg_name_check(container_id, "state.id", e);

    *ret = LAYOUT_UNSAID;
    if (r == 0)
        r = state_dir_open(state_dir, false, &state, e);
    if (r == 0) {
        r = state_lookup(&state, container_id, a, &sandbox_id);
        if (r < 0)
            err_sys(e, r, "cannot look which sandbox container %s is in", container_id);
    }
    if (r == 0)
        r = state_look(&state, sandbox_id, &look, e);
    if (r == 0)
        r = record_read(&look, a, &record, &found, e);
    if (r == 0 && found == RECORD_VALID && record.layout) {
        own = record_find(&record, container_id);
        r = own ? record_container_is_alive(own) : 0;
        if (r < 0)
            err_sys(e, r, "cannot tell whether container %s lives", container_id);
        if (r > 0)
            (void)layout_word_parse(record.layout, ret);
        r = r < 0 ? r : 0;
    }
    state_unlock(&look);
    state_dir_close(&state);
    if (r == -ENOENT)
        err_reset(e);
    return r == -ENOENT ? 0 : r;
}

static int has_runtime_path(const struct record *r, const char *path)
{
    int alive = 0;

    for (size_t i = 0; i < r->containers.count && alive == 0; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        if (c->runtime_path && str_eq(c->runtime_path, path))
            alive = record_container_is_alive(c);
    }
    return alive;
}

int record_path_is_runtimes(const struct state_dir *s, const char *path, struct arena *a,
                            struct err *e)
{
    const char **ids;
    size_t count;
    int r = state_list(s, a, &ids, &count, e);

    for (size_t i = 0; r == 0 && i < count; i++) {
        struct state_lock look;
        enum record_state st;
        struct record record;

        r = state_look(s, ids[i], &look, e);
        if (r == 0)
            r = record_read(&look, a, &record, &st, e);
        if (r == 0 && st == RECORD_VALID) {
            r = has_runtime_path(&record, path);
            if (r < 0)
                err_sys(e, r, "cannot tell whether the containers of sandbox %s live", ids[i]);
        }
        /* It went meanwhile. */
        if (r == -ENOENT) {
            err_reset(e);
            r = 0;
        }
        state_unlock(&look);
    }
    return r;
}
