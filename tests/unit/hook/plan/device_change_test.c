/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/device_change.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/unit/kit/device_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const struct device_node kvm = {"/dev/kvm", true, 'c', 10, 232};

static const struct {
    const char *device, *access;
    const char
        *want; /* "+c 1:3 rwm", with "?" behind it if no access was named; else of the error */
} asks[] = {
    {"/dev/kvm", NULL, "+c 10:232 rwm?"},
    {"/dev/kvm", "r", "+c 10:232 r"},
    {"/dev/kvm", "rwm", "+c 10:232 rwm"},
    {"c 10:232 rw", NULL, "+c 10:232 rw"},
    {"b 7:* m", NULL, "+b 7:* m"},
    {"/dev/kvm", "", "access \"\" is not made of r, w, m"},
    {"/dev/kvm", "rx", "access \"rx\" is not made of r, w, m"},
    {"c 10:232 rw", "r", "\"c 10:232 rw\" names its access already"},
    {"c 10:232", NULL, "\"c 10:232\" is neither an absolute path nor a rule"},
    {"a *:* rwm", NULL, "neither an absolute path nor a rule"},
    {"kvm\n", NULL, "\"kvm\\x0a\" is neither"},
};

Test(device_change, ask)
{
    for (size_t i = 0; i < ARRAY_SIZE(asks); i++) {
        for (int allow = 0; allow < 2; allow++) {
            autoarena a = ARENA_INIT;
            struct err e = ERR_INIT;
            struct device_ask ask;
            int r = device_ask_parse(allow, asks[i].device, &kvm, asks[i].access, &ask, &e);
            const struct cg_dev_rules rules = {.items = &ask.rule, .count = 1};
            const char *got = r < 0 ? e.text
                                    : arena_printf(&a, "%s%s", dev_rules_text(&a, &rules),
                                                   ask.any_access ? "?" : "");

            cr_expect_eq(r, asks[i].want[0] == '+' ? 0 : -EINVAL);
            cr_expect_eq(e.bad_input, r < 0);
            cr_expect(strstr(got, r < 0 ? asks[i].want : asks[i].want + 1),
                      "%s: expected %s, got %s", asks[i].device, asks[i].want, got);
            cr_expect(r < 0 || got[0] == (allow ? '+' : '-'), "%s", got);
        }
    }
}

/* What a sandbox has at least: nodes, and mknod of all. */
#define USUAL "+c 1:3 rwm, +c 10:232 rwm, +c *:* m, +b *:* m"
#define V1    CG_MODE_V1, false
#define V2    CG_MODE_V2, false
#define UNIT  CG_MODE_V2, true

static const struct {
    const char *now, *rule;
    enum cg_mode mode;
    bool systemd, any_access;
    /* The rule; what is left and by which other rule; and whether anything changes. */
    const char *want;
} decisions[] = {
    {USUAL, "+c 10:229 rwm", V1, true, "+c 10:229 rwm"},
    {USUAL, "+c 10:229 r", V2, false, "+c 10:229 r"},
    {USUAL, "+c 10:229 r", UNIT, false, "+c 10:229 r"},
    {USUAL, "+c 10:* rwm", V1, false, "+c 10:* rwm"},
    {USUAL, "+c *:229 rwm", V1, false, "+c *:229 rwm"},
    {USUAL, "+c *:229 rwm", UNIT, false, "\"c *:229 rwm\" cannot be added: systemd"},
    /* by a rule of its own, and by a wider one */
    {USUAL, "+c 10:232 rwm", V1, true, "+c 10:232 rwm, already"},
    {USUAL, "+c 10:232 rw", V2, false, "+c 10:232 rw, already"},
    {USUAL, "+c 10:229 m", V2, false, "+c 10:229 m, already, by c *:* m"},
    {"+b 7:* rwm", "+b 7:3 rw", V1, false, "+b 7:3 rw, already, by b 7:* rwm"},
    {"+b 7:* rwm", "+b 7:3 rwm", UNIT, true, "+b 7:3 rwm, already, by b 7:* rwm"},
    {"+b 7:* rw, +b *:* m", "+b 7:3 rwm", V1, true, "+b 7:3 rwm, already, by b 7:* rwm"},
    {"+b *:* rwm, -b 7:3 w", "+b 7:3 r", V2, false, "+b 7:3 r, already"},
    /* mknod stays where it cannot be taken */
    {USUAL, "-c 10:232 rwm", V1, true, "-c 10:232 rw, left m by c *:* m"},
    {USUAL, "-c 10:232 rwm", UNIT, true, "-c 10:232 rw, left m by c *:* m"},
    {USUAL, "-c 10:232 rwm", V2, true, "-c 10:232 rwm"},
    {"+c 10:232 rwm", "-c 10:232 rwm", V1, true, "-c 10:232 rwm"},
    {USUAL, "-c 10:232 w", V1, false, "-c 10:232 w"},
    {USUAL, "-c 10:229 rw", V1, false, "-c 10:229 rw, already"},
    {USUAL, "-c 10:229 rwm", V1, true, "-c 10:229 rw, already, left m by c *:* m"},
    {"+c 10:232 rwm", "-c 10:* rwm", V1, false, "-c 10:* rwm"},
    /* but not where it was asked for by name, nor anything else */
    {USUAL, "-c 10:232 rwm", V1, false,
     "\"c 10:232 rwm\" is a part of the wider rule \"c *:* m\" and cannot be taken from it"},
    {"+c 10:* rwm", "-c 10:232 rwm", V1, true, "part of the wider rule \"c 10:* rwm\""},
    {"+c 10:* rwm", "-c 10:232 rwm", UNIT, true, "part of the wider rule \"c 10:* rwm\""},
    {"+c 10:* rwm", "-c 10:232 rwm", V2, true, "-c 10:232 rwm"},
    {"+c 10:* r, +c *:* m", "-c 10:232 rwm", V1, true, "part of the wider rule \"c 10:* rm\""},
    /* v1 could say these, with all devices allowed for an instant */
    {"+a *:* rwm", "-c 10:232 rwm", V1, true, "would have to be written anew"},
    {"+a *:* rwm, -c 1:3 rw", "+c 1:3 r", V1, false,
     "\"c 1:3 r\" cannot be added: a list of cgroup v1"},
    {"+a *:* rwm, -c 1:3 rw", "-c 1:3 w", V1, false, "-c 1:3 w, already"},
    {"+a *:* rwm, -c 1:3 rw", "+c 1:3 rw", V1, false, "+c 1:3 rw"},
    {"+a *:* rwm", "-c 10:232 rwm", V2, true, "-c 10:232 rwm"},
};

static const char *decide(struct arena *a, size_t row)
{
    const struct cg_dev_rules before = dev_make_rules(a, decisions[row].now);
    const struct facts facts = {.mode = decisions[row].mode};
    const struct plan_basis basis = {.facts = &facts, .systemd = decisions[row].systemd};
    const struct plan_limits now = {
        .sandbox = {.has_devices = true, .devices = dev_compile(a, &before)}};
    const struct device_ask ask = {dev_make_rules(a, decisions[row].rule).items[0],
                                   decisions[row].any_access};
    struct device_change c;
    struct err e = ERR_INIT;
    char text[48], left[4];
    int r = device_change_decide(&basis, &now, &ask, a, &c, &e);

    if (r < 0) {
        cr_expect_eq(r, -EINVAL);
        cr_expect(e.bad_input, "%s", e.text);
        return arena_strdup(a, e.text);
    }
    cr_expect_eq(c.left && !c.wider.access, false);
    return arena_printf(
        a, "%s%s%s%s%s", dev_rules_text(a, &(struct cg_dev_rules){.items = &c.rule, .count = 1}),
        c.changes ? "" : ", already",
        c.left           ? ", left "
        : c.wider.access ? ","
                         : "",
        cg_dev_access_text(c.left, left),
        c.wider.access
            ? arena_printf(a, " by %s", cg_dev_entry_text(&c.wider, c.wider.access, text))
            : "");
}

Test(device_change, decide)
{
    for (size_t i = 0; i < ARRAY_SIZE(decisions); i++) {
        autoarena a = ARENA_INIT;
        const char *want = decisions[i].want, *got = decide(&a, i);
        bool fits =
            strchr("+-", want[0]) ? str_eq(got, want) : strstr(got, want) && !strchr("+-", got[0]);

        cr_expect(fits, "%s and %s, mode %d%s:\nexpected: %s\ngot:      %s", decisions[i].now,
                  decisions[i].rule, (int)decisions[i].mode,
                  decisions[i].systemd ? " with systemd" : "", want, got);
    }
}

/* More classes than can be told apart. */
Test(device_change, too_many)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules before = {0};
    const struct facts facts = {.mode = CG_MODE_V2};
    const struct plan_basis basis = {.facts = &facts};
    struct plan_limits now = {.sandbox.has_devices = true};
    struct device_ask ask = {{true, 'c', CG_DEV_ANY, 65536, CG_DEV_R}, false};
    struct device_change c;
    struct err e = ERR_INIT;

    for (int64_t n = 0; n < 256; n++) {
        cg_dev_rules_add(&a, &before, (struct cg_dev_rule){true, 'c', n, CG_DEV_ANY, CG_DEV_R});
        cg_dev_rules_add(&a, &before, (struct cg_dev_rule){true, 'c', CG_DEV_ANY, n, CG_DEV_W});
    }
    now.sandbox.devices = dev_compile(&a, &before);
    cr_expect_eq(device_change_decide(&basis, &now, &ask, &a, &c, &e), -E2BIG);
    cr_expect(strstr(e.text, "device rules on a major number"), "%s", e.text);
    cr_expect_not(e.bad_input);
}

static const struct {
    const char *asked, *rule, *want;
} notes[] = {
    {"", "+c 1:3 rwm", "+c 1:3 rwm"},
    {"+c 1:3 rwm", "+c 1:3 rwm", "+c 1:3 rwm"},
    {"+c 1:3 rwm", "-c 1:3 rw", "+c 1:3 m, -c 1:3 rw"},
    {"+c 1:3 m, -c 1:3 rw", "+c 1:3 r", "+c 1:3 m, -c 1:3 w, +c 1:3 r"},
    {"+c 1:3 rwm, -b 7:1 rw", "+c 1:5 r", "+c 1:3 rwm, -b 7:1 rw, +c 1:5 r"},
    {"+c 1:3 rwm, -c 2:4 w, +b 1:3 r", "-c 1:* rwm", "-c 2:4 w, +b 1:3 r, -c 1:* rwm"},
    {"+c 1:* r", "-c 1:3 r", "+c 1:* r, -c 1:3 r"},
    {"+c *:3 r", "-c 1:* r", "+c *:3 r, -c 1:* r"},
    {"+c 4:3 r, +b 4:4 r, -c 5:4 w", "+c *:4 rwm", "+c 4:3 r, +b 4:4 r, +c *:4 rwm"},
};

Test(device_change, note)
{
    for (size_t i = 0; i < ARRAY_SIZE(notes); i++) {
        autoarena a = ARENA_INIT;
        const struct cg_dev_rules asked = dev_make_rules(&a, notes[i].asked);
        const struct cg_dev_rules rule = dev_make_rules(&a, notes[i].rule);
        const struct cg_dev_rules got = device_change_note(&asked, &rule.items[0], &a);

        cr_expect_str_eq(dev_rules_text(&a, &got), notes[i].want, "%s, %s: expected %s, got %s",
                         notes[i].asked, notes[i].rule, notes[i].want, dev_rules_text(&a, &got));
    }
}

/* Whatever is said in whatever order: what is dropped changes nothing. */
Test(device_change, note_keeps_the_meaning)
{
    dev_random_state = 4711;
    for (int round = 0; round < 3000; round++) {
        autoarena a = ARENA_INIT;
        const struct cg_dev_rules said = dev_random_rules(&a, 8, false);
        struct cg_dev_rules all = {0}, kept = {0};
        struct dev_request q;
        unsigned cursor = 0;

        for (size_t i = 0; i < said.count; i++) {
            if (said.items[i].type == 'a')
                continue;
            ARENA_APPEND(&a, all.items, all.count) = said.items[i];
            kept = device_change_note(&kept, &said.items[i], &a);
        }
        while (dev_next_request(&cursor, &q))
            cr_assert_eq(cg_dev_rules_allow(&all, q.type, q.major, q.minor, q.access),
                         cg_dev_rules_allow(&kept, q.type, q.major, q.minor, q.access),
                         "%s became %s", dev_rules_text(&a, &all), dev_rules_text(&a, &kept));
    }
}
