/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/overhead_print.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>

#define X   CG_UNKNOWN
#define MIB (1ull << 20)

static char pod[] = "p\n<b>", container[] = "c";

/* Concluded by hand: what it says must not depend on how. */
static struct overhead_sandbox items[] = {
    {.id = "s\n1",
     .count = 60,
     .source = USAGE_CGROUP,
     .cpu = {2500, 100, 2000, 12345},
     .held = {X, 300 * MIB, 310 * MIB, 320 * MIB},
     .memory = {X, 44 * MIB, 54 * MIB, 64 * MIB}},
    {.id = "another-sandbox-of-a-long-name",
     .count = 3,
     .ended = true,
     .cpu = {X, X, X, X},
     .held = {X, X, X, X},
     .memory = {X, X, X, X}},
};

static struct overhead both(void)
{
    return (struct overhead){
        .terms = {500, 10, {true, 256 * MIB}},
        .items = items,
        .count = 2,
        .cpu_millis = 220,
        .memory_mib = 71,
        .cpu_of = &items[0],
        .memory_of = &items[0],
        .cpu_unknown = 1,
        .memory_unknown = 1,
    };
}

static void expect_yaml(const struct overhead *o, const char *want)
{
    autosbuf out = SBUF_INIT;

    overhead_write_yaml(o, &out);
    cr_expect_str_eq(sbuf_text(&out), want, "expected:\n%s\ngot:\n%s", want, sbuf_text(&out));
}

Test(overhead_print, sampled)
{
    struct overhead o = both();

    expect_yaml(
        &o, "# The overhead of 2 sandboxes, read every 0.50 s.\n"
            "# CPU is in thousandths of one; memory is what is not the guest's.\n"
            "#\n"
            "# SANDBOX                CPU p50     p95     max  MEM. p50       p95       max\n"
            "# s\\x0a1                    10.0   200.0  1234.5  44.0 MiB  54.0 MiB  64.0 MiB\n"
            "# another-sandbox-of-...       -       -       -         -         -         -\n"
            "# another-sandbox-of-a-long-name has ended meanwhile, after 3 readings.\n"
            "#\n"
            "# For the RuntimeClass:\n"
            "# cpu: the p95 of s\\x0a1, 200.0m, and 10 % on top.\n"
            "# Of 1 of 2 sandboxes it is not known.\n"
            "# memory: the most that s\\x0a1 held without\n"
            "# page cache, less 256 MiB of the guest: 64.0 MiB, and 10 % on top.\n"
            "# That is right once the guest has touched all of its memory, and too little before.\n"
            "# Of 1 of 2 sandboxes it is not known.\n"
            "overhead:\n"
            "  podFixed:\n"
            "    cpu: 220m\n"
            "    memory: 71Mi\n");
}

Test(overhead_print, accumulated)
{
    struct overhead o = both();

    o.terms = (struct overhead_terms){0, 0, {true, 0}};
    o.count = 1;
    o.cpu_unknown = o.memory_unknown = 0;
    expect_yaml(&o, "# The overhead of 1 sandbox since it began, not sampled.\n"
                    "# CPU is in thousandths of one; memory is what is not the guest's.\n"
                    "#\n"
                    "# SANDBOX                 CPU mean  MEMORY peak\n"
                    "# s\\x0a1                     250.0     64.0 MiB\n"
                    "#\n"
                    "# For the RuntimeClass:\n"
                    "# cpu: the mean of s\\x0a1, 250.0m, and 0 % on top.\n"
                    "# A mean has no bursts in it; --for 60s samples.\n"
                    "# memory: the most that s\\x0a1 had, with\n"
                    "# page cache, less 0 B of the guest: 64.0 MiB, and 0 % on top.\n"
                    "overhead:\n"
                    "  podFixed:\n"
                    "    cpu: 220m\n"
                    "    memory: 71Mi\n");
}

/* Why nothing is said, and then nothing is said. */
Test(overhead_print, unknown)
{
    struct overhead o = both();

    o.count = 0;
    o.cpu_of = o.memory_of = NULL;
    expect_yaml(&o, "# no sandbox runs\n");
    o.count = 1;
    o.memory_of = &items[0];
    items[0].names = (struct names){container, pod, NULL};
    expect_yaml(
        &o, "# The overhead of 1 sandbox, read every 0.50 s.\n"
            "# CPU is in thousandths of one; memory is what is not the guest's.\n"
            "#\n"
            "# SANDBOX                CPU p50     p95     max  MEM. p50       p95       max\n"
            "# p\\x0a<b>/c                10.0   200.0  1234.5  44.0 MiB  54.0 MiB  64.0 MiB\n"
            "#\n"
            "# For the RuntimeClass:\n"
            "# cpu: not known, as no vCPU is known; `show` says why.\n"
            "# memory: the most that s\\x0a1 held without\n"
            "# page cache, less 256 MiB of the guest: 64.0 MiB, and 10 % on top.\n"
            "# That is right once the guest has touched all of its memory, and too little before.\n"
            "# Of 1 of 1 sandboxes it is not known.\n"
            "overhead:\n"
            "  podFixed:\n"
            "    memory: 71Mi\n");
    items[0].names = (struct names){0};
    o.memory_of = NULL;
    expect_yaml(
        &o, "# The overhead of 1 sandbox, read every 0.50 s.\n"
            "# CPU is in thousandths of one; memory is what is not the guest's.\n"
            "#\n"
            "# SANDBOX                CPU p50     p95     max  MEM. p50       p95       max\n"
            "# s\\x0a1                    10.0   200.0  1234.5  44.0 MiB  54.0 MiB  64.0 MiB\n"
            "#\n"
            "# For the RuntimeClass:\n"
            "# cpu: not known, as no vCPU is known; `show` says why.\n"
            "# memory: not known, as no sandbox holds the 256 MiB of its guest: the guest has not\n"
            "# touched all of it yet.\n");
    o.terms.guest_bytes.set = false;
    o.cpu_of = &items[0];
    expect_yaml(
        &o, "# The overhead of 1 sandbox, read every 0.50 s.\n"
            "# CPU is in thousandths of one; memory is the whole sandbox's, the guest's in it.\n"
            "#\n"
            "# SANDBOX                CPU p50     p95     max  MEM. p50       p95       max\n"
            "# s\\x0a1                    10.0   200.0  1234.5   300 MiB   310 MiB   320 MiB\n"
            "#\n"
            "# For the RuntimeClass:\n"
            "# cpu: the p95 of s\\x0a1, 200.0m, and 10 % on top.\n"
            "# Of 1 of 1 sandboxes it is not known.\n"
            "# memory: not known. The kernel counts it for processes, so the guest's is in it;\n"
            "# --guest-memory SIZE says how much that is.\n"
            "overhead:\n"
            "  podFixed:\n"
            "    cpu: 220m\n");
}

static void expect_json(const struct overhead *o, const char *want)
{
    struct json_writer *w = json_writer_new(false);

    overhead_write_json(o, w);
    cr_expect_str_eq(json_writer_text(w, NULL), want, "expected: %s\ngot:      %s", want,
                     json_writer_text(w, NULL));
    json_writer_free(w);
}

Test(overhead_print, json)
{
    struct overhead o = both();

    expect_json(
        &o, "{\"sampled\":true,\"interval_ms\":500,\"margin_percent\":10,"
            "\"guest_memory_bytes\":268435456,\"sandboxes\":["
            "{\"sandbox_id\":\"s\\n1\",\"container\":null,\"pod\":null,\"namespace\":null,"
            "\"ended\":false,\"readings\":60,\"source\":\"cgroup\","
            "\"cpu_millis\":{\"mean\":250.00,\"p50\":10.00,\"p95\":200.00,\"max\":1234.50},"
            "\"memory_bytes\":{\"p50\":46137344,\"p95\":56623104,\"max\":67108864},"
            "\"sandbox_memory_bytes\":{\"p50\":314572800,\"p95\":325058560,\"max\":335544320}},"
            "{\"sandbox_id\":\"another-sandbox-of-a-long-name\",\"container\":null,\"pod\":null,"
            "\"namespace\":null,\"ended\":true,\"readings\":3,\"source\":null,"
            "\"cpu_millis\":{\"mean\":null,\"p50\":null,\"p95\":null,\"max\":null},"
            "\"memory_bytes\":{\"p50\":null,\"p95\":null,\"max\":null},"
            "\"sandbox_memory_bytes\":{\"p50\":null,\"p95\":null,\"max\":null}}],"
            "\"pod_fixed\":{\"cpu\":\"220m\",\"cpu_of\":\"s\\n1\",\"memory\":\"71Mi\","
            "\"memory_of\":\"s\\n1\"}}");
    o.terms = (struct overhead_terms){0, 0, {false, 5}};
    o.count = 0;
    o.cpu_of = o.memory_of = NULL;
    expect_json(&o, "{\"sampled\":false,\"interval_ms\":null,\"margin_percent\":0,"
                    "\"guest_memory_bytes\":null,\"sandboxes\":[],"
                    "\"pod_fixed\":{\"cpu\":null,\"cpu_of\":null,\"memory\":null,"
                    "\"memory_of\":null}}");
}
