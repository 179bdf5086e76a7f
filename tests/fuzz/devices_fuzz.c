/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Device lists: the compiled table, the program of cgroup v2 and the exceptions of v1 against the
 * list itself, request by request; and devices.list of a v1 cgroup, brought to what is wanted.
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/devices/v1.h"
#include "tests/fuzz/draw.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/kit/device_model.h"

#include <errno.h>
#include <stdlib.h>

#define RULES_MOST 24

/* In rules are these, and any; the last stands for all other numbers. */
static const uint32_t numbers[] = {0, 1, 3, 0xfffffffe, 7};
#define IN_RULES (ARRAY_SIZE(numbers) - 1)

static int64_t draw_number(struct draw *d)
{
    uint64_t i = draw_below(d, IN_RULES + 1);

    return i == IN_RULES ? CG_DEV_ANY : (int64_t)numbers[i];
}

static struct cg_dev_rules draw_rules(struct draw *d, bool only_allow, struct arena *a)
{
    struct cg_dev_rules rules = {0};

    while (d->len > 0 && rules.count < RULES_MOST) {
        bool allow = only_allow || draw_below(d, 3) > 0;
        char type = "abc"[draw_below(d, 3)];
        int64_t major = draw_number(d), minor = draw_number(d);
        uint8_t access = (uint8_t)(1 + draw_below(d, CG_DEV_RWM));

        cg_dev_rules_add(a, &rules, (struct cg_dev_rule){allow, type, major, minor, access});
    }
    return rules;
}

/* What all forms are of. */
struct forms {
    struct cg_dev_rules rules;
    struct cg_dev_table table;
    struct cg_bpf_program program;
    bool has_v1;
    struct cg_dev_exceptions v1;
};

static void make_forms(struct forms *f, bool only_allow, struct arena *a)
{
    struct err e = ERR_INIT;
    char error[128];
    int r = cg_dev_compile(&f->rules, a, &f->table, &e);

    FUZZ_CHECK(r == 0, "compiling: %s", e.text);
    for (size_t i = 1; i < f->table.count; i++)
        FUZZ_CHECK(cg_dev_entry_compare(&f->table.items[i - 1], &f->table.items[i]) < 0,
                   "entry %zu is out of order", i);
    r = cg_bpf_device_program(&f->table, a, &f->program, &e);
    FUZZ_CHECK(r == 0, "the program: %s", e.text);
    FUZZ_CHECK(bpf_interp_check(f->program.insns, f->program.count, error, sizeof error) == 0,
               "the program: %s", error);
    r = cg_dev_exceptions_make(&f->table, a, &f->v1, &e);
    FUZZ_CHECK(r == 0 || r == -ENOTSUP, "%d: %s", r, e.text);
    FUZZ_CHECK(r == 0 || !only_allow, "allows alone, and no v1 form: %s", e.text);
    fuzz_check_result(r, &e);
    f->has_v1 = r == 0;
}

static void expect_verdict(const struct forms *f, char type, uint32_t major, uint32_t minor,
                           uint8_t access)
{
    bool want = cg_dev_rules_allow(&f->rules, type, major, minor, access);
    struct bpf_verdict v;

    FUZZ_CHECK(dev_table_allows(&f->table, type, major, minor, access) == want,
               "the table of %c %u:%u %u, expected %d", type, major, minor, access, want);
    FUZZ_CHECK(dev_program_run(&f->program, type, major, minor, access, &v) == 0, "%s", v.error);
    FUZZ_CHECK(v.value == want, "the program of %c %u:%u %u says %u", type, major, minor, access,
               v.value);
    FUZZ_CHECK(!f->has_v1 || dev_v1_allows(&f->v1, type, major, minor, access) == want,
               "v1 of %c %u:%u %u, expected %d", type, major, minor, access, want);
}

static void expect_all_verdicts(const struct forms *f)
{
    for (size_t i = 0; i < ARRAY_SIZE(numbers) * ARRAY_SIZE(numbers); i++) {
        uint32_t major = numbers[i / ARRAY_SIZE(numbers)], minor = numbers[i % ARRAY_SIZE(numbers)];

        for (uint8_t access = CG_DEV_R; access <= CG_DEV_RWM; access++) {
            expect_verdict(f, 'b', major, minor, access);
            expect_verdict(f, 'c', major, minor, access);
        }
    }
}

/* Two containers: what either may is allowed, bit by bit, and nothing else. */
static void expect_union(const struct forms *x, const struct forms *y, struct arena *a)
{
    const struct cg_dev_table tables[] = {x->table, y->table};
    struct cg_dev_table both = {0};
    struct err e = ERR_INIT;

    FUZZ_CHECK(cg_dev_union(tables, 2, a, &both, &e) == 0, "%s", e.text);
    for (size_t i = 0; i < ARRAY_SIZE(numbers) * ARRAY_SIZE(numbers); i++) {
        uint32_t major = numbers[i / ARRAY_SIZE(numbers)], minor = numbers[i % ARRAY_SIZE(numbers)];

        for (uint8_t bit = CG_DEV_R; bit <= CG_DEV_M; bit = (uint8_t)(bit << 1))
            FUZZ_CHECK(dev_table_allows(&both, 'c', major, minor, bit) ==
                           (cg_dev_rules_allow(&x->rules, 'c', major, minor, bit) ||
                            cg_dev_rules_allow(&y->rules, 'c', major, minor, bit)),
                       "both of c %u:%u %u", major, minor, bit);
    }
}

bool fuzz_devices(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    struct draw whole = {data, len}, first;
    bool only_allow = draw_one_in(&whole, 4);
    struct forms one = {0}, other = {0};

    first = (struct draw){whole.data, whole.len / 2};
    one.rules = draw_rules(&whole, only_allow, &a);
    make_forms(&one, only_allow, &a);
    expect_all_verdicts(&one);
    other.rules = draw_rules(&first, false, &a);
    make_forms(&other, false, &a);
    expect_union(&one, &other, &a);
    return one.rules.count > 0;
}

/* --- devices.list --- */

/* A v1 cgroup's list as the kernel keeps it (device_cgroup.c): without a line of type "a". */
struct played {
    bool allow_all;
    struct cg_dev_entry *items;
    size_t count;
};

/* "c 1:3 rwm", as the kernel reads it. */
static struct cg_dev_entry read_entry(const char *line)
{
    struct cg_dev_entry entry = {.type = line[0]};
    char *end;

    entry.major = line[2] == '*' ? CG_DEV_ANY : strtoll(line + 2, NULL, 10);
    line = strchr(line, ':') + 1;
    entry.minor = line[0] == '*' ? CG_DEV_ANY : strtoll(line, &end, 10);
    FUZZ_CHECK(cg_dev_access_parse(strchr(line, ' ') + 1, &entry.access) == 0, "%s", line);
    return entry;
}

static struct cg_dev_entry *find_entry(const struct played *p, const struct cg_dev_entry *entry)
{
    for (size_t i = 0; i < p->count; i++) {
        if (cg_dev_entry_compare(&p->items[i], entry) == 0)
            return &p->items[i];
    }
    return NULL;
}

/* A line that is written to devices.allow or devices.deny: an exception is added or taken from. */
static void play_line(struct played *p, const char *line, bool allow, struct arena *a)
{
    struct cg_dev_entry entry, *found;

    if (line[0] == 'a') {
        *p = (struct played){.allow_all = allow};
        return;
    }
    entry = read_entry(line);
    found = find_entry(p, &entry);
    if (allow == p->allow_all) {
        if (found)
            found->access &= (uint8_t)~entry.access;
    } else if (found) {
        found->access |= entry.access;
    } else {
        ARENA_APPEND(a, p->items, p->count) = entry;
    }
}

static bool play_file(struct played *p, const char *file, bool allow, struct arena *a)
{
    autofree char *text = NULL;
    char *cursor, *line;
    ssize_t len = io_read_all_at(fuzz_dir(), file, (size_t)1 << 20, &text);

    FUZZ_CHECK(len >= 0, "%s", file);
    cursor = text;
    while ((line = str_next(&cursor, '\n'))) {
        if (*line)
            play_line(p, line, allow, a);
    }
    return len > 0;
}

/* What it is after the writes; an "a" comes first, and which file has it says what is reset. */
static void expect_applied(const char *list, const struct cg_dev_exceptions *want, struct arena *a)
{
    struct played p = {0};
    char *cursor = arena_strdup(a, list), *line;
    size_t left = 0;
    bool was_all = false;

    while ((line = str_next(&cursor, '\n'))) {
        was_all = was_all || line[0] == 'a';
        if (*line && line[0] != 'a')
            play_line(&p, line, true, a);
    }
    if (want->allow_all || was_all)
        p = (struct played){.allow_all = was_all};
    play_file(&p, want->allow_all || !was_all ? "devices.allow" : "devices.deny",
              want->allow_all || !was_all, a);
    play_file(&p, want->allow_all || !was_all ? "devices.deny" : "devices.allow",
              !(want->allow_all || !was_all), a);
    FUZZ_CHECK(p.allow_all == want->allow_all, "the default is %d, after %s", p.allow_all, list);
    for (size_t i = 0; i < p.count; i++)
        left += p.items[i].access != 0;
    FUZZ_CHECK(left == want->count, "%zu exceptions, expected %zu, after %s", left, want->count,
               list);
    for (size_t i = 0; i < want->count; i++) {
        const struct cg_dev_entry *found = find_entry(&p, &want->exceptions[i]);

        FUZZ_CHECK(found && found->access == want->exceptions[i].access, "exception %zu, after %s",
                   i, list);
    }
}

/* The first byte says how much of the rest is the list, as text; what is left draws what is wanted. */
bool fuzz_devices_list(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    size_t split = len > 0 ? data[0] % len : 0;
    struct draw d = {data + (len > 0) + split, len - (len > 0) - split};
    const char *list = fuzz_text(&a, data + (len > 0), split);
    struct cg_dev_rules rules = draw_rules(&d, false, &a);
    struct cg_dev_table table = {0};
    struct cg_dev_exceptions want = {0};
    struct err e = ERR_INIT;
    int r;

    FUZZ_CHECK(cg_dev_compile(&rules, &a, &table, &e) == 0, "%s", e.text);
    if (cg_dev_exceptions_make(&table, &a, &want, NULL) < 0)
        return false;
    fuzz_dir_write("devices.list", list, strlen(list));
    fuzz_dir_write("devices.allow", "", 0);
    fuzz_dir_write("devices.deny", "", 0);
    r = cg_dev_v1_apply(fuzz_dir(), &want, &e);
    fuzz_check_result(r, &e);
    FUZZ_CHECK(r == 0 || r == -EPROTO, "%d: %s", r, e.text);
    if (r == 0)
        expect_applied(list, &want, &a);
    return r == 0;
}
