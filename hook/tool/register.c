/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/register.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/plan/stage.h"
#include "oci/json_span.h"
#include "oci/state.h"

#include <errno.h>
#include <stdlib.h>

/* --- what is read of the document --- */

struct entry {
    char *path;
    struct json_list args; /* char * */
    struct json_i64 timeout;
};

struct hooks {
    struct json_list stages[REGISTER_STAGES]; /* struct entry */
};

struct document {
    struct hooks *hooks;
};

static const struct json_field entry_fields[] = {
    JSON_F_STRING("path", struct entry, path),
    JSON_F_STRING_LIST("args", struct entry, args),
    JSON_F_I64("timeout", struct entry, timeout, INT64_MIN, INT64_MAX),
};
static const struct json_table entry_table = {
    .fields = entry_fields, .count = ARRAY_SIZE(entry_fields), .size = sizeof(struct entry)};

/* In the order of enum stage. */
static const struct json_field hooks_fields[REGISTER_STAGES] = {
    JSON_F_OBJECT_LIST("prestart", struct hooks, stages[0], &entry_table),
    JSON_F_OBJECT_LIST("createRuntime", struct hooks, stages[1], &entry_table),
    JSON_F_OBJECT_LIST("poststart", struct hooks, stages[2], &entry_table),
    JSON_F_OBJECT_LIST("poststop", struct hooks, stages[3], &entry_table),
};
static const struct json_table hooks_table = {
    .fields = hooks_fields, .count = REGISTER_STAGES, .size = sizeof(struct hooks)};

static const struct json_field document_fields[] = {
    JSON_F_OBJECT("hooks", struct document, hooks, &hooks_table),
};
static const struct json_table document_table = {.fields = document_fields,
                                                 .count = ARRAY_SIZE(document_fields),
                                                 .size = sizeof(struct document)};

static enum stage stage_of(size_t i)
{
    return (enum stage)(STAGE_PRESTART + i);
}

/* The stages without which nothing works, and with which everything does. */
static bool is_required(size_t i)
{
    return stage_of(i) == STAGE_PRESTART || stage_of(i) == STAGE_POSTSTOP;
}

const char *register_action_name(enum register_action action)
{
    static const char *const names[] = {
        [REGISTER_ABSENT] = "absent",   [REGISTER_KEPT] = "kept",
        [REGISTER_ADDED] = "added",     [REGISTER_REPLACED] = "replaced",
        [REGISTER_REMOVED] = "removed",
    };

    return names[action];
}

/* --- the splice --- */

struct edit {
    size_t begin, end; /* what goes */
    const char *text;  /* what comes in its place */
};

struct editor {
    const char *text;
    size_t len;
    const struct register_request *request;
    const char *unit; /* of indentation, "" where there are no lines */
    struct arena *arena;
    struct edit *edits;
    size_t count;
};

static void edit(struct editor *ed, size_t begin, size_t end, const char *text)
{
    struct edit *new = &ARENA_APPEND(ed->arena, ed->edits, ed->count);

    *new = (struct edit){begin, end, text};
}

static int by_begin(const void *a, const void *b)
{
    const struct edit *x = a, *y = b;

    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static void apply(struct editor *ed, struct register_result *ret)
{
    autosbuf out = SBUF_INIT;
    size_t pos = 0;

    ret->changed = ed->count > 0;
    ret->text = ed->text;
    ret->len = ed->len;
    if (!ret->changed)
        return;
    qsort(ed->edits, ed->count, sizeof *ed->edits, by_begin);
    for (size_t i = 0; i < ed->count; i++) {
        sbuf_add(&out, ed->text + pos, ed->edits[i].begin - pos);
        sbuf_add(&out, ed->edits[i].text, strlen(ed->edits[i].text));
        pos = ed->edits[i].end;
    }
    sbuf_add(&out, ed->text + pos, ed->len - pos);
    ret->text = arena_strndup(ed->arena, sbuf_text(&out), out.len);
    ret->len = out.len;
}

/*
 * Take out what is doomed, each with the comma and the blanks that stand before it, or, at the
 * beginning, behind it: the reverse of how entries and members are put in. Returns whether all are
 * doomed; then nothing is taken out, as the caller may take out what they are in.
 */
static bool drop(struct editor *ed, const struct json_span *items, const bool *doomed, size_t count)
{
    size_t first = 0;

    while (first < count && doomed[first])
        first++;
    if (first == count)
        return count > 0;
    if (first > 0)
        edit(ed, items[0].begin, items[first].begin, "");
    for (size_t i = first + 1; i < count; i++) {
        if (doomed[i])
            edit(ed, items[i - 1].end, items[i].end, "");
    }
    return false;
}

/* --- form --- */

#define GAP_MAX 64

/* The blanks before a position. What is too long to be indentation is not copied: one will do. */
static const char *gap_before(const struct editor *ed, size_t pos)
{
    size_t begin = pos;

    while (begin > 0 && json_is_blank(ed->text[begin - 1])) {
        begin--;
        if (pos - begin > GAP_MAX)
            return " ";
    }
    return arena_strndup(ed->arena, ed->text + begin, pos - begin);
}

/* The last line break of a gap with the indentation behind it; "" if it has none. */
static const char *last_line(const char *gap)
{
    const char *line = strrchr(gap, '\n');

    if (!line)
        return "";
    return line > gap && line[-1] == '\r' ? line - 1 : line;
}

/* The gap one level further in. Never empty: see the header. */
static const char *inner_gap(const struct editor *ed, const char *gap)
{
    const char *line = last_line(gap);

    return *line ? arena_printf(ed->arena, "%s%s", line, ed->unit) : " ";
}

static const char *entry_text(struct editor *ed, size_t stage, int64_t timeout)
{
    struct json_writer *w = json_writer_new(false);
    const char *text;

    json_open_object(w, NULL);
    json_string(w, "path", ed->request->program);
    json_open_list(w, "args");
    json_string(w, NULL, REGISTER_PROGRAM);
    for (size_t i = 0; i < ed->request->options.count; i++)
        json_string(w, NULL, JSON_AT(ed->request->options, char *, i));
    json_string(w, NULL, stage_name(stage_of(stage)));
    json_close_list(w);
    json_i64(w, "timeout", timeout);
    json_close_object(w);
    text = arena_strdup(ed->arena, json_writer_text(w, NULL));
    json_writer_free(w);
    return text;
}

/* A new list with our entry, for a member that @gap stands before, or would. */
static const char *list_text(struct editor *ed, size_t stage, const char *gap)
{
    return arena_printf(ed->arena, "[%s%s%s]", inner_gap(ed, gap),
                        entry_text(ed, stage, REGISTER_TIMEOUT_S), last_line(gap));
}

static const char *member_text(struct editor *ed, size_t stage, const char *gap)
{
    return arena_printf(ed->arena, "\"%s\":%s%s", stage_name(stage_of(stage)),
                        *last_line(gap) ? " " : "", list_text(ed, stage, gap));
}

static const char *hooks_text(struct editor *ed, const char *gap)
{
    const char *inner = inner_gap(ed, gap), *separator = "", *text = "{";

    for (size_t i = 0; i < REGISTER_STAGES; i++) {
        if (!is_required(i))
            continue;
        text =
            arena_printf(ed->arena, "%s%s%s%s", text, separator, inner, member_text(ed, i, inner));
        separator = ",";
    }
    return arena_printf(ed->arena, "%s%s}", text, last_line(gap));
}

/* --- one stage --- */

static bool is_our_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return str_eq(slash ? slash + 1 : path, REGISTER_PROGRAM);
}

static bool is_ours(const struct entry *entry)
{
    return (entry->path && is_our_name(entry->path)) ||
           (entry->args.count > 0 && is_our_name(JSON_AT(entry->args, char *, 0)));
}

static bool is_current(const struct editor *ed, size_t stage, const struct entry *entry)
{
    const struct json_list *options = &ed->request->options, *args = &entry->args;

    if (!str_eq_null(entry->path, ed->request->program) || entry->timeout.value <= 0 ||
        args->count != options->count + 2)
        return false;
    for (size_t i = 0; i < options->count; i++) {
        if (!str_eq(JSON_AT(*args, char *, i + 1), JSON_AT(*options, char *, i)))
            return false;
    }
    return str_eq(JSON_AT(*args, char *, 0), REGISTER_PROGRAM) &&
           str_eq(JSON_AT(*args, char *, args->count - 1), stage_name(stage_of(stage)));
}

/* The entries of a list that is there: spans, what was read of them, and which are ours. */
struct stage_list {
    size_t stage;
    struct json_span span;
    struct json_span *items;
    const struct json_list *entries; /* struct entry */
    bool *ours;
    size_t count, first; /* entries; the first of ours, or count */
};

static void look_at(struct editor *ed, struct json_span span, const struct json_list *entries,
                    size_t stage, struct stage_list *ret)
{
    *ret = (struct stage_list){.stage = stage, .span = span, .entries = entries};
    ret->count = json_span_elements(ed->text, span, ed->arena, &ret->items);
    ret->first = ret->count;
    ret->ours = arena_alloc(ed->arena, (ret->count + 1) * sizeof *ret->ours);
    for (size_t i = ret->count; i-- > 0;) {
        ret->ours[i] = is_ours(&JSON_AT(*entries, struct entry, i));
        if (ret->ours[i])
            ret->first = i;
    }
}

/*
 * Set up last and tear down first. A hook of others that fails before ours then leaves nothing of
 * ours behind, and runc calls no poststop hook behind one that has failed.
 */
static void insert_entry(struct editor *ed, const struct stage_list *list)
{
    const char *text = entry_text(ed, list->stage, REGISTER_TIMEOUT_S);
    size_t pos = list->span.begin + 1;

    if (list->count > 0 && stage_of(list->stage) == STAGE_POSTSTOP) {
        pos = list->items[0].begin;
        text = arena_printf(ed->arena, "%s,%s", text, gap_before(ed, pos));
    } else if (list->count > 0) {
        const struct json_span *last = &list->items[list->count - 1];

        pos = last->end;
        text = arena_printf(ed->arena, ",%s%s", gap_before(ed, last->begin), text);
    }
    edit(ed, pos, pos, text);
}

static enum register_action enter(struct editor *ed, struct stage_list *list)
{
    const struct entry *first;
    size_t before = ed->count;

    if (list->first == list->count) {
        if (!is_required(list->stage))
            return REGISTER_ABSENT;
        insert_entry(ed, list);
        return REGISTER_ADDED;
    }
    first = &JSON_AT(*list->entries, struct entry, list->first);
    if (!is_current(ed, list->stage, first)) {
        int64_t timeout = first->timeout.value > 0 ? first->timeout.value : REGISTER_TIMEOUT_S;

        edit(ed, list->items[list->first].begin, list->items[list->first].end,
             entry_text(ed, list->stage, timeout));
    }
    list->ours[list->first] = false; /* it stays; the others go */
    drop(ed, list->items, list->ours, list->count);
    return ed->count > before ? REGISTER_REPLACED : REGISTER_KEPT;
}

/* Returns whether the whole list has to go: we have made it, and nothing else is in it. */
static bool leave(struct editor *ed, const struct stage_list *list)
{
    if (!drop(ed, list->items, list->ours, list->count))
        return false;
    if (*gap_before(ed, list->items[0].begin))
        return true;
    edit(ed, list->items[0].begin, list->items[list->count - 1].end, "");
    return false;
}

/* --- the document --- */

/* An object that is there: its members, and the place for one more. */
struct members {
    struct json_span span;
    struct json_member *items;
    size_t count;
};

static void look_into(struct editor *ed, struct json_span span, struct members *ret)
{
    ret->span = span;
    ret->count = json_span_members(ed->text, span, ed->arena, &ret->items);
}

static struct json_member *find(const struct editor *ed, const struct members *m, const char *key)
{
    for (size_t i = 0; i < m->count; i++) {
        if (json_span_is(ed->text, m->items[i].key, key))
            return &m->items[i];
    }
    return NULL;
}

static bool is_null(const struct editor *ed, const struct json_member *member)
{
    return ed->text[member->value.begin] == 'n';
}

/* What stands before the object's last member; an empty object has nothing before its next. */
static const char *member_gap(const struct editor *ed, const struct members *m)
{
    return m->count > 0 ? gap_before(ed, m->items[m->count - 1].key.begin) : "";
}

static void append(struct editor *ed, const struct members *m, const char *text)
{
    size_t pos = m->count > 0 ? m->items[m->count - 1].value.end : m->span.begin + 1;

    edit(ed, pos, pos, text);
}

/* Take members out of an object, as drop() does. */
static bool drop_members(struct editor *ed, const struct members *m, const bool *doomed)
{
    struct json_span *spans = arena_alloc(ed->arena, (m->count + 1) * sizeof *spans);

    for (size_t i = 0; i < m->count; i++)
        spans[i] = (struct json_span){m->items[i].key.begin, m->items[i].value.end};
    return drop(ed, spans, doomed, m->count);
}

static void drop_all_members(struct editor *ed, const struct members *m)
{
    edit(ed, m->items[0].key.begin, m->items[m->count - 1].value.end, "");
}

/*
 * runc and other programs in Go take "Hooks" for hooks, and of "hooks" and "Hooks" the later one.
 * They would not see our entries, or only ours.
 * @where  the object, with a dot behind it, "" for the document.
 */
static int check_case(const struct editor *ed, const struct members *m,
                      const struct json_field *fields, size_t count, const char *where,
                      struct err *e)
{
    char shown[100];

    for (size_t i = 0; i < m->count * count; i++) {
        const struct json_span key = m->items[i / count].key;
        const char *want = fields[i % count].key;

        if (json_span_is(ed->text, key, want) || !json_span_is_folded(ed->text, key, want))
            continue;
        str_escape(arena_strndup(ed->arena, ed->text + key.begin + 1, key.end - key.begin - 2),
                   shown, sizeof shown);
        return err_input(e, "%s%s: runtimes written in Go read this as \"%s\"; write it so", where,
                         shown, want);
    }
    return 0;
}

static int check_entries(struct editor *ed, const struct json_member *stage, const char *name,
                         struct err *e)
{
    struct json_span *items;
    size_t count = json_span_elements(ed->text, stage->value, ed->arena, &items);
    int r = 0;

    for (size_t i = 0; i < count && r == 0; i++) {
        struct members entry;

        look_into(ed, items[i], &entry);
        r = check_case(ed, &entry, entry_fields, ARRAY_SIZE(entry_fields),
                       arena_printf(ed->arena, "hooks.%s[%zu].", name, i), e);
    }
    return r;
}

/* All names that are read. */
static int check_names(struct editor *ed, const struct members *root, const char *path,
                       struct err *e)
{
    const struct json_member *member = find(ed, root, "hooks");
    struct members hooks;
    char shown[200];
    int r = check_case(ed, root, document_fields, ARRAY_SIZE(document_fields), "", e);

    if (r == 0 && member && !is_null(ed, member)) {
        look_into(ed, member->value, &hooks);
        r = check_case(ed, &hooks, hooks_fields, REGISTER_STAGES, "hooks.", e);
        for (size_t i = 0; i < REGISTER_STAGES && r == 0; i++) {
            member = find(ed, &hooks, hooks_fields[i].key);
            if (member && !is_null(ed, member))
                r = check_entries(ed, member, hooks_fields[i].key, e);
        }
    }
    err_wrap(e, "%s", str_escape(path, shown, sizeof shown));
    return r;
}

static void register_stages(struct editor *ed, const struct members *hooks,
                            const struct hooks *read, struct register_result *ret)
{
    const char *gap = member_gap(ed, hooks), *separator = "", *added = "";

    if (hooks->count > 0)
        separator = arena_printf(ed->arena, ",%s", gap);
    for (size_t i = 0; i < REGISTER_STAGES; i++) {
        const struct json_member *member = find(ed, hooks, hooks_fields[i].key);
        struct stage_list list;

        if (member && !is_null(ed, member)) {
            look_at(ed, member->value, &read->stages[i], i, &list);
            ret->actions[i] = enter(ed, &list);
        } else if (is_required(i)) {
            ret->actions[i] = REGISTER_ADDED;
            if (member) {
                edit(ed, member->value.begin, member->value.end,
                     list_text(ed, i, gap_before(ed, member->key.begin)));
                continue;
            }
            added = arena_printf(ed->arena, "%s%s%s", added, separator, member_text(ed, i, gap));
            separator = arena_printf(ed->arena, ",%s", gap);
        }
    }
    if (*added)
        append(ed, hooks, added);
}

static void register_new(struct editor *ed, const struct members *root,
                         const struct json_member *hooks, struct register_result *ret)
{
    const char *gap = member_gap(ed, root);

    for (size_t i = 0; i < REGISTER_STAGES; i++)
        ret->actions[i] = is_required(i) ? REGISTER_ADDED : REGISTER_ABSENT;
    if (hooks) {
        edit(ed, hooks->value.begin, hooks->value.end,
             hooks_text(ed, gap_before(ed, hooks->key.begin)));
        return;
    }
    append(ed, root,
           arena_printf(ed->arena, "%s%s\"hooks\":%s%s", root->count > 0 ? "," : "", gap,
                        *last_line(gap) ? " " : "", hooks_text(ed, gap)));
}

/* Returns whether `hooks` has to go: we have made it, and nothing else is in it. */
static bool remove_stages(struct editor *ed, const struct members *hooks, const struct hooks *read,
                          struct register_result *ret)
{
    bool *doomed = arena_alloc(ed->arena, (hooks->count + 1) * sizeof *doomed);

    for (size_t i = 0; i < REGISTER_STAGES; i++) {
        const struct json_member *member = find(ed, hooks, hooks_fields[i].key);
        struct stage_list list;

        if (!member || is_null(ed, member))
            continue;
        look_at(ed, member->value, &read->stages[i], i, &list);
        if (list.first == list.count)
            continue;
        ret->actions[i] = REGISTER_REMOVED;
        doomed[member - hooks->items] = leave(ed, &list);
    }
    if (!drop_members(ed, hooks, doomed))
        return false;
    if (*gap_before(ed, hooks->items[0].key.begin))
        return true;
    drop_all_members(ed, hooks);
    return false;
}

static void remove_all(struct editor *ed, const struct members *root, struct json_member *member,
                       const struct hooks *read, struct register_result *ret)
{
    bool *doomed = arena_alloc(ed->arena, (root->count + 1) * sizeof *doomed);
    struct members hooks;

    if (!member || is_null(ed, member))
        return;
    look_into(ed, member->value, &hooks);
    doomed[member - root->items] = remove_stages(ed, &hooks, read, ret);
    if (drop_members(ed, root, doomed))
        drop_all_members(ed, root);
}

/* A document of ours that no stage would read is worse than none. */
static int check_length(const struct register_result *result, const char *where, struct err *e)
{
    char shown[200];

    if (!result->changed || result->len <= OCI_MAX_BYTES)
        return 0;
    return err_input(e, "%s: too long with the hook in it, %zu bytes, expected at most %zu",
                     str_escape(where, shown, sizeof shown), result->len, OCI_MAX_BYTES);
}

int register_edit(const char *text, size_t len, const char *where,
                  const struct register_request *request, struct arena *a,
                  struct register_result *ret, struct err *e)
{
    struct editor ed = {.text = text, .len = len, .request = request, .unit = "", .arena = a};
    struct document document = {0};
    const struct json_doc doc = {.table = &document_table, .dest = &document};
    struct json_member *member;
    struct members root, hooks;
    char shown[200];
    int r = json_read_text(text, len, &doc, 1, 0, where, a, e);

    *ret = (struct register_result){0};
    if (r == 0)
        r = err_input(e, "%s: empty, expected the JSON object of a bundle's config.json",
                      str_escape(where, shown, sizeof shown));
    if (r < 0)
        return r;
    look_into(&ed, json_span_document(text, len), &root);
    r = check_names(&ed, &root, where, e);
    if (r < 0)
        return r;
    if (root.count > 0) {
        const char *line = last_line(gap_before(&ed, root.items[0].key.begin));

        ed.unit = line + strspn(line, "\r\n");
    }
    member = find(&ed, &root, "hooks");
    if (!request->program) {
        remove_all(&ed, &root, member, document.hooks, ret);
    } else if (member && !is_null(&ed, member)) {
        look_into(&ed, member->value, &hooks);
        register_stages(&ed, &hooks, document.hooks, ret);
    } else {
        register_new(&ed, &root, member, ret);
    }
    apply(&ed, ret);
    return check_length(ret, where, e);
}
