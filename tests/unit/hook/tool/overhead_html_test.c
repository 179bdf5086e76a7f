/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/overhead_html.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <inttypes.h>

#define X   CG_UNKNOWN
#define MIB (1ull << 20)

static char evil[] = "</td><script>alert(1)</script>&\"'\x1b\xff";

static struct overhead_point points[2000];

/* A page of @count readings of one, a second each. */
static void page_of(size_t count, struct overhead_sandbox *s, struct overhead *o, struct sbuf *out)
{
    s->points = points;
    s->count = count;
    o->items = s;
    o->count = 1;
    overhead_conclude(o);
    sbuf_free(out);
    overhead_write_html(o, out);
}

static size_t count_of(const struct sbuf *page, const char *text)
{
    size_t count = 0;

    for (const char *at = sbuf_text(page); (at = strstr(at, text)); at += strlen(text))
        count++;
    return count;
}

#define EXPECT_HAS(page, text)                                                                     \
    cr_expect(strstr(sbuf_text(page), text), "expected \"%s\" in\n%s", text, sbuf_text(page))
#define EXPECT_NOT(page, text)                                                                     \
    cr_expect(!strstr(sbuf_text(page), text), "expected no \"%s\" in\n%s", text, sbuf_text(page))

static const struct overhead_terms sampled = {1000, 0, {true, 64 * MIB}};

/* Half of the picture is 100m, all of it two seconds. */
Test(overhead_html, lines)
{
    struct overhead o = {.terms = sampled};
    struct overhead_sandbox s = {.id = "s"};
    autosbuf page = SBUF_INIT;

    points[0] = (struct overhead_point){1000000, 2000, 1000, 5000, 164 * MIB};
    points[1] = (struct overhead_point){2000000, 2000, 2000, 10000, 264 * MIB};
    page_of(2, &s, &o, &page);
    EXPECT_HAS(&page, "<path class=\"vcpu\" d=\"M384.0 12.0L384.0 12.0L704.0 12.0\"/>");
    EXPECT_HAS(&page, "<path class=\"over\" d=\"M384.0 102.0L384.0 102.0L704.0 12.0\"/>");
    EXPECT_HAS(&page, "<line class=\"rec\" x1=\"64\" x2=\"704\" y1=\"12.0\" y2=\"12.0\"/>");
    EXPECT_HAS(&page, "recommended: 200 m");
    EXPECT_HAS(&page, "recommended: 200 MiB");
    EXPECT_HAS(&page, ">150</text>");
    EXPECT_HAS(&page, ">0 s</text>");
    EXPECT_HAS(&page, ">2 s</text>");
    EXPECT_HAS(&page, "    cpu: 200m\n    memory: 200Mi\n");
    EXPECT_HAS(&page, "<td>100.0</td><td>200.0</td><td>200.0</td><td>100 MiB</td>");
    cr_expect_eq(count_of(&page, "<svg "), 5);
    cr_expect_eq(count_of(&page, "class=\"rec\""), 2);
    EXPECT_NOT(&page, "greatest of");
    EXPECT_NOT(&page, "not known");
    EXPECT_NOT(&page, "<script");
}

/* Lines are broken where nobody knows, and a reading between two such is a dot. */
Test(overhead_html, gaps)
{
    struct overhead o = {.terms = sampled};
    struct overhead_sandbox s = {.id = "s", .ended = true};
    autosbuf page = SBUF_INIT;

    for (size_t i = 0; i < 4; i++)
        points[i] = (struct overhead_point){(i + 1) * 1000000, X, i % 2 ? X : 1000, X, X};
    page_of(4, &s, &o, &page);
    EXPECT_HAS(&page, "d=\"M224.0 12.0L224.0 12.0M544.0 12.0L544.0 12.0\"/>");
    EXPECT_HAS(&page, "<b>Throttling of the guest, in per cent of its periods</b>: not known");
    EXPECT_HAS(&page, "<b>Memory of the overhead</b>: not known");
    EXPECT_HAS(&page, "s: 4 readings, then it ended");
    cr_expect_eq(count_of(&page, "<svg "), 2);
    page_of(0, &s, &o, &page);
    EXPECT_HAS(&page, "s: 0 readings");
    cr_expect_eq(count_of(&page, "<svg "), 0);
}

/* All may be 0, which is a line at the bottom. */
Test(overhead_html, nothing_used)
{
    struct overhead o = {.terms = {1000, 0, {false, 0}}};
    struct overhead_sandbox s = {.id = "s"};
    autosbuf page = SBUF_INIT;

    points[0] = (struct overhead_point){1000000, 0, 0, 0, 0};
    page_of(1, &s, &o, &page);
    EXPECT_HAS(&page, "<path class=\"vcpu\" d=\"M704.0 192.0L704.0 192.0\"/>");
    EXPECT_HAS(&page, "recommended: 1 m");
    EXPECT_NOT(&page, "nan");
    EXPECT_NOT(&page, "inf");
}

/* Of so many that they do not fit no peak is lost, and no picture grows. */
Test(overhead_html, many)
{
    struct overhead o = {.terms = sampled};
    struct overhead_sandbox s = {.id = "s"};
    autosbuf page = SBUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(points); i++)
        points[i] = (struct overhead_point){(i + 1) * 1000000, 1000, i == 1234 ? 4000 : 0, 0, 0};
    page_of(ARRAY_SIZE(points), &s, &o, &page);
    EXPECT_HAS(&page, "(each point is the greatest of 4 readings)");
    EXPECT_HAS(&page, "L458.6 12.0L");
    EXPECT_HAS(&page, ">30 min</text>");
    cr_expect_lt(page.len, 60000);
    page_of(640, &s, &o, &page);
    EXPECT_NOT(&page, "greatest of");
    EXPECT_HAS(&page, ">10 min</text>");
    page_of(641, &s, &o, &page);
    EXPECT_HAS(&page, "greatest of 2");
    page_of(600, &s, &o, &page);
    EXPECT_HAS(&page, ">600 s</text>");
}

Test(overhead_html, what_is_from_outside)
{
    struct overhead o = {.terms = sampled};
    struct overhead_sandbox s = {.id = evil, .names = {evil, NULL, NULL}};
    autosbuf page = SBUF_INIT;

    points[0] = (struct overhead_point){1000000, 1000, 1000, 0, 128 * MIB};
    page_of(1, &s, &o, &page);
    EXPECT_NOT(&page, "<script");
    EXPECT_NOT(&page, "\x1b");
    EXPECT_NOT(&page, "\xff");
    cr_expect_eq(count_of(&page, "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;"
                                 "\\x1b\\xff"),
                 5, "table, title, id, and why cpu and memory");
}
