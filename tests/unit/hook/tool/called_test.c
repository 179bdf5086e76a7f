/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/called.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "oci/json.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(called, by_conmon)
{
#define ARGS(text) text, sizeof(text)
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } rows[] = {
        {ARGS("conmon\0-c\0id\0-n\0my-vm\0--exit-dir\0/x"), "my-vm"},
        {ARGS("conmon\0--name\0my-vm"), "my-vm"},
        {ARGS("conmon\0-n\0"), ""},
        {ARGS("conmon\0-n"), NULL},
        {ARGS("conmon\0-nx\0my-vm"), NULL},
        {ARGS("conmon"), NULL},
        {ARGS(""), NULL},
        {"", 0, NULL},
    };
#undef ARGS

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect(str_eq_null(called_by_conmon(rows[i].text, rows[i].len), rows[i].want),
                  "row %zu: %s", i, called_by_conmon(rows[i].text, rows[i].len));
}

struct container {
    const char *name, *pod, *space;
};

Test(called, sandbox)
{
    static const struct {
        struct container containers[2];
        size_t count;
        const char *want;
    } rows[] = {
        {{{0}}, 0, "-"},
        {{{0}}, 1, "-"},
        {{{"c", NULL, NULL}}, 1, "c"},
        {{{"c", "p", "n"}}, 1, "n/p/c"},
        {{{NULL, "p", "n"}, {"c", NULL, NULL}}, 2, "n/p/c"},
        {{{"c", "p", "n"}, {"d", "p", "n"}}, 2, "n/p"},
        {{{"c", "p", "n"}, {"d", "q", "m"}}, 2, "n/p"},
        {{{"c\xc3\xa4\\", NULL, NULL}}, 1, "c\\xc3\\xa4\\x5c"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        struct record record = {0};
        struct names names;
        char shown[64];

        for (size_t k = 0; k < rows[i].count; k++) {
            const struct container *c = &rows[i].containers[k];

            JSON_APPEND(&a, record.containers, struct record_container) = (struct record_container){
                .name = c->name ? arena_strdup(&a, c->name) : NULL,
                .pod = c->pod ? arena_strdup(&a, c->pod) : NULL,
                .pod_namespace = c->space ? arena_strdup(&a, c->space) : NULL,
            };
        }
        cr_expect_eq(called_sandbox(&record, &a, &names, NULL), 0);
        cr_expect_str_eq(called_text(&names, shown, sizeof shown), rows[i].want, "row %zu", i);
    }
}

/* To the columns that there are. */
Test(called, is_cut)
{
    char container[] = "container", pod[] = "pod", shown[10];
    struct names names = {container, pod, NULL};

    cr_expect_str_eq(called_text(&names, shown, sizeof shown), "pod/co...");
}

Test(called, json)
{
    char pod[] = "p";
    struct names names = {NULL, pod, NULL};
    struct json_writer *w = json_writer_new(false);

    json_open_object(w, NULL);
    called_write_json(w, &names);
    json_close_object(w);
    cr_expect_str_eq(json_writer_text(w, NULL),
                     "{\"container\":null,\"pod\":\"p\",\"namespace\":null}");
    json_writer_free(w);
}

/* Nobody's name is taken for none where nobody can look. */
Test(called, unseen)
{
    autoarena a = ARENA_INIT;
    char id[] = "c1";
    const struct proc_id self = *kit_who(getpid());
    struct record_container c = {.id = id, .init = record_process_new(&a, &self)};
    struct err e = ERR_INIT;
    struct names names;
    int r;

    cr_expect_eq(called_container(&c, &a, &names, &e), 0, "its parent is no conmon: %s", e.text);
    kit_blind();
    r = called_container(&c, &a, &names, &e);
    kit_see();
    cr_expect_eq(r, -EMFILE, "%d, %s", r, e.text);
    cr_expect(strstr(e.text, "container c1"), "%s", e.text);
}
