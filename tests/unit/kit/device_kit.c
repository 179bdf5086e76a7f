/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/device_kit.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/devices/bpf.h"
#include "cgroup/host.h"
#include "tests/unit/kit/bpf_interp.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static int64_t number(const char *text)
{
    return str_eq(text, "*") ? CG_DEV_ANY : strtoll(text, NULL, 10);
}

struct cg_dev_rules dev_make_rules(struct arena *a, const char *text)
{
    struct cg_dev_rules rules = {0};
    char *cursor = arena_strdup(a, text), *field;

    while ((field = str_next(&cursor, ','))) {
        struct cg_dev_rule *rule;
        char sign, type, major[24], minor[24], access[8];

        if (str_empty(field))
            continue;
        cr_assert_eq(sscanf(field, " %c%c %23[^:]:%23[^ ] %7s", &sign, &type, major, minor, access),
                     5, "rule text: \"%s\"", field);
        rule = arena_push(a, &rules.items, &rules.count, sizeof *rule);
        *rule = (struct cg_dev_rule){
            .allow = sign == '+', .type = type, .major = number(major), .minor = number(minor)};
        cr_assert_eq(cg_dev_access_parse(access, &rule->access), 0, "access: \"%s\"", access);
    }
    return rules;
}

char *dev_rules_text(struct arena *a, const struct cg_dev_rules *rules)
{
    char *text = arena_strdup(a, "");

    for (size_t i = 0; i < rules->count; i++) {
        char one[48];

        text = arena_printf(a, "%s%s%c%s", text, i ? ", " : "", rules->items[i].allow ? '+' : '-',
                            cg_dev_rule_text(&rules->items[i], one));
    }
    return text;
}

struct cg_dev_table dev_compile(struct arena *a, const struct cg_dev_rules *rules)
{
    struct cg_dev_table table = {0};
    struct err e = ERR_INIT;

    cr_assert_eq(cg_dev_compile(rules, a, &table, &e), 0, "compiling %s: %s",
                 dev_rules_text(a, rules), e.text);
    return table;
}

char *dev_entries_text(struct arena *a, const struct cg_dev_entry *items, size_t count)
{
    char *text = arena_strdup(a, "");

    for (size_t i = 0; i < count; i++) {
        const struct cg_dev_rule rule = {.type = items[i].type,
                                         .major = items[i].major,
                                         .minor = items[i].minor,
                                         .access = items[i].access};
        char one[48];

        text = arena_printf(a, "%s%s%s%s", text, i ? ", " : "", cg_dev_rule_text(&rule, one),
                            items[i].access ? "" : "-");
    }
    return text;
}

uint32_t dev_random_state;

uint32_t dev_random_below(uint32_t limit)
{
    dev_random_state ^= dev_random_state << 13;
    dev_random_state ^= dev_random_state >> 17;
    dev_random_state ^= dev_random_state << 5;
    return dev_random_state % limit;
}

static int64_t random_number(void)
{
    return (int64_t)dev_random_below(DEV_NUMBERS) - 1;
}

struct cg_dev_rules dev_random_rules(struct arena *a, uint32_t most, bool only_allow)
{
    struct cg_dev_rules rules = {0};

    for (uint32_t n = dev_random_below(most + 1); n > 0; n--) {
        struct cg_dev_rule *rule = arena_push(a, &rules.items, &rules.count, sizeof *rule);

        *rule = (struct cg_dev_rule){
            .allow = only_allow || dev_random_below(3) > 0,
            .type = "abc"[dev_random_below(3)],
            .major = random_number(),
            .minor = random_number(),
            .access = (uint8_t)(1 + dev_random_below(7)),
        };
    }
    return rules;
}

bool dev_next_request(unsigned *cursor, struct dev_request *ret)
{
    unsigned n = (*cursor)++;

    *ret = (struct dev_request){.type = n % 2 ? 'b' : 'c',
                                .major = n / 2 % DEV_NUMBERS,
                                .minor = n / 2 / DEV_NUMBERS % DEV_NUMBERS,
                                .access = (uint8_t)(1 + n / 2 / DEV_NUMBERS / DEV_NUMBERS)};
    return ret->access <= CG_DEV_RWM;
}

uint8_t dev_bits_of(const struct cg_dev_rules *rules, char type, uint32_t major, uint32_t minor)
{
    uint8_t bits = 0;

    for (uint8_t bit = CG_DEV_R; bit <= CG_DEV_M; bit = (uint8_t)(bit << 1))
        bits |= cg_dev_rules_allow(rules, type, major, minor, bit) ? bit : 0;
    return bits;
}

const char *const dev_shape_names[] = {"majors", "minors", "grid", "mixed", "over lines"};

struct cg_dev_rules dev_large_list(struct arena *a, enum dev_shape shape, uint32_t count)
{
    struct cg_dev_rules rules = {0};

    if (shape == DEV_OVER_LINES) {
        for (uint32_t i = 0; i < 100; i++)
            cg_dev_rules_add(a, &rules,
                             (struct cg_dev_rule){true, 'c', CG_DEV_ANY, 1000 + 2 * i, CG_DEV_R});
        cg_dev_rules_add(a, &rules,
                         (struct cg_dev_rule){true, 'c', CG_DEV_ANY, CG_DEV_ANY, CG_DEV_M});
    }
    for (uint32_t i = 0; i < count; i++) {
        struct cg_dev_rule rule = {true, 'c', 240, 2 * (int64_t)i, (uint8_t)(1 + i % 7)};

        if (shape == DEV_MAJORS || shape == DEV_OVER_LINES)
            rule.major = 2 * (int64_t)i, rule.minor = i % 5;
        else if (shape == DEV_GRID)
            rule.major = i / 100, rule.minor = i % 100 * 2;
        else if (shape == DEV_MIXED)
            rule = (struct cg_dev_rule){true, i % 2 ? 'b' : 'c', i, i % 3 ? (int64_t)(i % 3) : -1,
                                        (uint8_t)(1 + i % 6)};
        cg_dev_rules_add(a, &rules, rule);
    }
    return rules;
}

struct cg_bpf_program dev_program(struct arena *a, const struct cg_dev_rules *rules)
{
    struct cg_bpf_program program = {0};
    struct cg_dev_table table = {0};
    struct err e = ERR_INIT;
    char error[128];
    int r = cg_dev_compile(rules, a, &table, &e);

    cr_assert_eq(r, 0, "compiling %s: %s", dev_rules_text(a, rules), e.text);
    r = cg_bpf_device_program(&table, a, &program, &e);
    cr_assert_eq(r, 0, "generating for %s: %s", dev_rules_text(a, rules), e.text);
    cr_assert_eq(bpf_interp_check(program.insns, program.count, error, sizeof error), 0,
                 "the program for \"%s\": %s", dev_rules_text(a, rules), error);
    return program;
}

struct cg_bpf_program dev_program_of(struct arena *a, const char *text)
{
    struct cg_dev_rules rules = dev_make_rules(a, text);

    return dev_program(a, &rules);
}

bool dev_program_allows(const struct cg_bpf_program *p, char type, uint32_t major, uint32_t minor,
                        uint8_t access, unsigned long *most)
{
    struct bpf_verdict v;

    cr_assert_eq(dev_program_run(p, type, major, minor, access, &v), 0, "%c %u:%u: %s", type, major,
                 minor, v.error);
    cr_assert_leq(v.value, 1, "%c %u:%u: returned %u", type, major, minor, v.value);
    if (most && v.steps > *most)
        *most = v.steps;
    return v.value == 1;
}

char dev_made[PATH_MAX];
char dev_nodes[64];

void dev_remove_made(void)
{
    for (int tries = 0; *dev_made && rmdir(dev_made) < 0 && errno == EBUSY && tries < 200; tries++)
        io_sleep_ms(5);
    *dev_made = '\0';
    if (*dev_nodes) {
        char command[128];

        snprintf(command, sizeof command, "rm -rf '%s'", dev_nodes);
        cr_expect_eq(system(command), 0);
    }
    *dev_nodes = '\0';
}

int dev_make_cgroup(bool v2)
{
    autoarena a = ARENA_INIT;
    const struct cg_hierarchy *h = NULL;
    struct cg_host host;
    int fd;

    if (geteuid() != 0)
        cr_skip_test("needs root");
    cr_assert_eq(cg_host_open(&a, &host, NULL), 0);
    for (size_t i = 0; i < host.count && !h; i++) {
        const struct cg_hierarchy *one = &host.hierarchies[i];

        if (v2 ? one->v2 : !one->v2 && one->controllers & CG_CTL_BIT(CG_CTL_DEVICES))
            h = one;
    }
    if (!h)
        cr_skip_test("no cgroup %s is mounted",
                     v2 ? "v2" : "v1 hierarchy with the devices controller");
    fd = v2 ? cg_bpf_device_probe() : 0;
    if (fd < 0)
        cr_skip_test("no device programs here: %s", strerror(-fd));
    snprintf(dev_made, sizeof dev_made, "%.4000s/osc-devtest-%d", h->mount_point, (int)getpid());
    cg_host_close(&host);
    if (mkdir(dev_made, 0755) < 0) {
        char name[PATH_MAX];

        strcpy(name, dev_made);
        *dev_made = '\0';
        cr_skip_test("cannot make %.200s: %s", name, strerror(errno));
    }
    fd = open(dev_made, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(fd, 0, "%s: %m", dev_made);
    return fd;
}

struct probe {
    char type;
    unsigned major, minor;
};

/* Harmless ones, and numbers for local use that get no driver (ENXIO when allowed). */
static const struct probe probes[] = {
    {'c', 1, 3},   {'c', 1, 5},   {'c', 1, 8},   {'c', 240, 0}, {'c', 240, 1},
    {'c', 240, 2}, {'c', 241, 0}, {'c', 241, 1}, {'c', 242, 5}, {'b', 240, 0},
    {'b', 240, 1}, {'b', 241, 0}, {'b', 241, 1}, {'b', 242, 5},
};

/* What one process can find out about each, by access: R, W, R|W, M. */
struct probe_results {
    bool ran;
    int error[ARRAY_SIZE(probes)][CG_DEV_RWM + 1]; /* errno, 0: success */
};

static const uint8_t probe_accesses[] = {CG_DEV_R, CG_DEV_W, CG_DEV_R | CG_DEV_W, CG_DEV_M};

/* No driver may be behind the numbers for local use: opening a device can do harm. */
static bool numbers_are_free(void)
{
    char line[256];
    FILE *f = fopen("/proc/devices", "re");
    bool free_numbers = f != NULL;

    while (f && fgets(line, sizeof line, f)) {
        long n = strtol(line, NULL, 10);

        if (n >= 240 && n <= 242)
            free_numbers = false;
    }
    if (f)
        fclose(f);
    return free_numbers;
}

void dev_make_nodes(void)
{
    char dir[] = "/tmp/osc-devtest-XXXXXX", path[96];
    int fd;

    if (!numbers_are_free())
        cr_skip_test("a driver uses device numbers that are for local use");
    cr_assert(mkdtemp(dir), "%m");
    snprintf(dev_nodes, sizeof dev_nodes, "%s", dir);
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
        snprintf(path, sizeof path, "%s/%zu", dev_nodes, i);
        if (mknod(path, (probes[i].type == 'b' ? S_IFBLK : S_IFCHR) | 0600,
                  makedev(probes[i].major, probes[i].minor)) < 0)
            cr_skip_test("cannot make device nodes: %s", strerror(errno));
    }
    snprintf(path, sizeof path, "%s/0", dev_nodes);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        cr_skip_test("cannot open device nodes in %s: %s", dev_nodes, strerror(errno));
    close(fd);
}

int dev_probe_one(size_t i, uint8_t access)
{
    static const int modes[] = {0, O_RDONLY, O_WRONLY, O_RDWR};
    char path[96];
    int fd;

    if (access == CG_DEV_M) {
        snprintf(path, sizeof path, "%s/new", dev_nodes);
        if (mknod(path, (probes[i].type == 'b' ? S_IFBLK : S_IFCHR) | 0600,
                  makedev(probes[i].major, probes[i].minor)) < 0)
            return errno;
        unlink(path);
        return 0;
    }
    snprintf(path, sizeof path, "%s/%zu", dev_nodes, i);
    fd = open(path, modes[access] | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

long dev_bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static bool is_ours(uint32_t id)
{
    struct bpf_prog_info info;
    union bpf_attr attr;
    autofd fd = FD_NONE;

    memset(&attr, 0, sizeof attr);
    attr.prog_id = id;
    fd = (int)dev_bpf(BPF_PROG_GET_FD_BY_ID, &attr);
    memset(&info, 0, sizeof info);
    memset(&attr, 0, sizeof attr);
    attr.info.bpf_fd = (uint32_t)fd;
    attr.info.info_len = sizeof info;
    attr.info.info = (uintptr_t)&info;
    cr_assert_eq(dev_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr), 0, "program %u: %m", id);
    return str_eq(info.name, CG_BPF_DEVICE_NAME);
}

size_t dev_attached(int cgroup, uint32_t ids[static DEV_ATTACHED_MAX], size_t *ret_ours)
{
    autofd fd = openat(cgroup, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    union bpf_attr attr;

    memset(&attr, 0, sizeof attr);
    attr.query.target_fd = (uint32_t)fd;
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    attr.query.prog_ids = (uintptr_t)ids;
    attr.query.prog_cnt = DEV_ATTACHED_MAX;
    cr_assert_eq(dev_bpf(BPF_PROG_QUERY, &attr), 0, "%m");
    *ret_ours = 0;
    for (uint32_t i = 0; i < attr.query.prog_cnt; i++)
        *ret_ours += is_ours(ids[i]);
    return attr.query.prog_cnt;
}

void *dev_share(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    cr_assert_neq(p, MAP_FAILED);
    return p;
}

void dev_enter(int cgroup)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (io_write_id_at(cgroup, "cgroup.procs", getpid()) < 0)
        _exit(1);
}

void dev_check_kernel_verdicts(int cgroup, const char *text)
{
    struct probe_results *results = dev_share(sizeof *results);
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules = dev_make_rules(&a, text);
    pid_t child = fork();
    int status;

    cr_assert_geq(child, 0);
    if (child == 0) {
        dev_enter(cgroup);
        for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
            for (size_t k = 0; k < ARRAY_SIZE(probe_accesses); k++)
                results->error[i][probe_accesses[k]] = dev_probe_one(i, probe_accesses[k]);
        }
        results->ran = true;
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(results->ran, "the probing process failed");
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
        const struct probe *p = &probes[i];

        for (size_t k = 0; k < ARRAY_SIZE(probe_accesses); k++) {
            uint8_t access = probe_accesses[k];
            bool want = cg_dev_rules_allow(&rules, p->type, p->major, p->minor, access);
            int error = results->error[i][access];

            cr_expect_eq(error != EPERM, want, "\"%s\", %c %u:%u access %u: expected %s, got %s",
                         text, p->type, p->major, p->minor, access, want ? "allowed" : "denied",
                         strerror(error));
        }
    }
    munmap(results, sizeof *results);
}
