/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/register.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/plan/stage.h"
#include "oci/state.h"

/* --- what is read of the document, and written of an entry --- */

enum { PRESTART = 0, POSTSTOP = STAGE_POSTSTOP - STAGE_PRESTART };

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
    .fields = hooks_fields, .count = ARRAY_SIZE(hooks_fields), .size = sizeof(struct hooks)};

static const struct json_field document_fields[] = {
    JSON_F_OBJECT("hooks", struct document, hooks, &hooks_table),
};
static const struct json_table document_table = {.fields = document_fields,
                                                 .count = ARRAY_SIZE(document_fields),
                                                 .size = sizeof(struct document)};

/* The stages without which nothing works, and with which everything does. */
static const bool required[REGISTER_STAGES] = {[PRESTART] = true, [POSTSTOP] = true};

/* --- edits --- */

struct edit {
    size_t begin, end; /* what goes */
    const char *text;  /* what comes in its place */
};

struct editor {
    const char *text;
    const struct register_request *request;
    const char *unit; /* of indentation, "" where there are no lines */
    struct arena *arena;
    struct edit *edits; /* by their place */
    size_t count;
    const char **actions;
};

static void edit(struct editor *ed, size_t begin, size_t end, const char *text)
{
    struct edit *at = arena_push(ed->arena, &ed->edits, &ed->count, sizeof *at);

    for (; at > ed->edits && at[-1].begin > begin; at--)
        *at = at[-1];
    *at = (struct edit){begin, end, text};
}

static void apply(const struct editor *ed, struct register_result *ret)
{
    autosbuf out = SBUF_INIT;
    size_t pos = 0;

    for (size_t i = 0; i < ed->count; i++) {
        if (ed->edits[i].begin < pos)
            continue; /* in what has gone as a whole */
        sbuf_add(&out, ed->text + pos, ed->edits[i].begin - pos);
        sbuf_add(&out, ed->edits[i].text, strlen(ed->edits[i].text));
        pos = ed->edits[i].end;
    }
    sbuf_add(&out, ed->text + pos, ret->len - pos);
    ret->changed = true;
    ret->text = arena_strndup(ed->arena, sbuf_text(&out), out.len);
    ret->len = out.len;
}

/* --- form --- */

#define GAP_MAX 64

/* The blanks before a position. What is too long to be indentation is not copied: one will do. */
static const char *gap_before(const struct editor *ed, size_t pos)
{
    size_t begin = pos;

    while (begin > 0 && json_is_blank(ed->text[begin - 1]))
        begin--;
    return pos - begin > GAP_MAX ? " " : arena_strndup(ed->arena, ed->text + begin, pos - begin);
}

/* What stands before the last item; an empty object or list has nothing before its next. */
static const char *last_gap(const struct editor *ed, const struct json_item *in)
{
    return in->count > 0 ? gap_before(ed, in->items[in->count - 1].begin) : "";
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

/* --- what is put in; @gap stands before the member that it is or is in --- */

static const char *entry_text(const struct editor *ed, const struct entry *entry)
{
    struct json_writer *w = json_writer_new(false);
    const char *text;

    json_write_table(w, NULL, &entry_table, entry);
    text = arena_strdup(ed->arena, json_writer_text(w, NULL));
    json_writer_free(w);
    return text;
}

/* @timeout  of the entry of ours that is there, kept if runtimes can work with it; 0: of none. */
static const char *our_entry(const struct editor *ed, size_t stage, int64_t timeout)
{
    const struct json_list *options = &ed->request->options;
    const size_t count = options->count + 2;
    const char **args = arena_alloc(ed->arena, count * sizeof *args);
    const struct entry entry = {
        .path = arena_strdup(ed->arena, ed->request->program),
        .args = {args, count},
        .timeout = {true, timeout > 0 ? timeout : REGISTER_TIMEOUT_S},
    };

    args[0] = REGISTER_PROGRAM;
    for (size_t i = 0; i < options->count; i++)
        args[i + 1] = JSON_AT(*options, char *, i);
    args[count - 1] = hooks_fields[stage].key;
    return entry_text(ed, &entry);
}

static const char *new_list(struct editor *ed, size_t stage, const char *gap)
{
    ed->actions[stage] = "added";
    return arena_printf(ed->arena, "[%s%s%s]", inner_gap(ed, gap), our_entry(ed, stage, 0),
                        last_line(gap));
}

static const char *new_member(const struct editor *ed, const char *key, const char *gap,
                              const char *value)
{
    return arena_printf(ed->arena, "\"%s\":%s%s", key, *last_line(gap) ? " " : "", value);
}

/* The members of these stages, each with a new list; "" for none. */
static const char *new_stages(struct editor *ed, const bool *stages, const char *gap)
{
    const char *text = "", *separator = "";

    for (size_t i = 0; i < REGISTER_STAGES; i++) {
        if (!stages[i])
            continue;
        text = arena_printf(ed->arena, "%s%s%s", text, separator,
                            new_member(ed, hooks_fields[i].key, gap, new_list(ed, i, gap)));
        separator = arena_printf(ed->arena, ",%s", gap);
    }
    return text;
}

static const char *new_hooks(struct editor *ed, const char *gap)
{
    const char *inner = inner_gap(ed, gap);

    return arena_printf(ed->arena, "{%s%s%s}", inner, new_stages(ed, required, inner),
                        last_line(gap));
}

/* --- in an object or a list that is there --- */

static void insert(struct editor *ed, const struct json_item *in, bool in_front, const char *text)
{
    size_t pos = in->value + 1;

    if (in->count > 0 && in_front) {
        pos = in->items[0].begin;
        text = arena_printf(ed->arena, "%s,%s", text, gap_before(ed, pos));
    } else if (in->count > 0) {
        pos = in->items[in->count - 1].end;
        text = arena_printf(ed->arena, ",%s%s", last_gap(ed, in), text);
    }
    edit(ed, pos, pos, text);
}

/*
 * Take out what is marked, each with the comma and the blanks that stand before it, or, at the
 * beginning, behind it: the reverse of how entries and members are put in. Returns whether nothing
 * stays and what it was in has to go, too, as it was made by us.
 */
static bool drop_marked(struct editor *ed, const struct json_item *in)
{
    bool some_stay = false;

    for (size_t i = 0; i < in->count; i++) {
        const struct json_item *item = &in->items[i];

        if (!item->marked)
            some_stay = true;
        else if (some_stay)
            edit(ed, item[-1].end, item->end, "");
        else
            edit(ed, item->begin, i + 1 < in->count ? item[1].begin : item->end, "");
    }
    return in->count > 0 && !some_stay && json_is_blank(ed->text[in->value + 1]);
}

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

static bool is_null(const struct editor *ed, const struct json_item *member)
{
    return ed->text[member->value] == 'n';
}

/*
 * The first entry of ours stays, if any is wanted. A new one sets up last and tears down first: a
 * hook of others that fails before ours then leaves nothing of ours behind, and runc calls no
 * poststop hook behind one that has failed. Returns whether the list has to go.
 */
static bool edit_list(struct editor *ed, size_t stage, const struct json_item *list,
                      const struct json_list *entries)
{
    const bool wanted = ed->request->program;
    const size_t before = ed->count;
    bool found = false, gone;

    for (size_t i = 0; i < list->count; i++) {
        const struct entry *entry = &JSON_AT(*entries, struct entry, i);
        struct json_item *item = &list->items[i];
        const char *text;

        if (!is_ours(entry))
            continue;
        item->marked = found || !wanted;
        found = true;
        if (item->marked)
            continue;
        text = our_entry(ed, stage, entry->timeout.value);
        if (!str_eq(text, entry_text(ed, entry)))
            edit(ed, item->begin, item->end, text);
    }
    gone = drop_marked(ed, list);
    if (found && wanted)
        ed->actions[stage] = ed->count > before ? "replaced" : "kept";
    else if (found)
        ed->actions[stage] = "removed";
    if (found || !wanted || !required[stage])
        return gone;
    ed->actions[stage] = "added";
    insert(ed, list, stage == POSTSTOP, our_entry(ed, stage, 0));
    return false;
}

/* Returns whether `hooks` has to go. */
static bool edit_hooks(struct editor *ed, const struct json_item *in, const struct hooks *hooks)
{
    const bool wanted = ed->request->program;
    bool missing[REGISTER_STAGES] = {[PRESTART] = wanted, [POSTSTOP] = wanted};
    const char *added;

    for (size_t i = 0; i < in->count; i++) {
        struct json_item *list = &in->items[i];
        size_t stage;

        if (!list->field)
            continue;
        stage = (size_t)(list->field - hooks_fields);
        if (!is_null(ed, list))
            list->marked = edit_list(ed, stage, list, &hooks->stages[stage]);
        else if (missing[stage])
            edit(ed, list->value, list->end, new_list(ed, stage, gap_before(ed, list->begin)));
        missing[stage] = false;
    }
    added = new_stages(ed, missing, last_gap(ed, in));
    if (*added)
        insert(ed, in, false, added);
    return drop_marked(ed, in);
}

static void edit_document(struct editor *ed, const struct json_item *in, const struct hooks *read)
{
    struct json_item *hooks = NULL;
    const char *gap = in->count > 0 ? last_line(gap_before(ed, in->items[0].begin)) : "";

    ed->unit = gap + strspn(gap, "\r\n");
    for (size_t i = 0; i < in->count; i++) {
        if (in->items[i].field)
            hooks = &in->items[i];
    }
    if (hooks && read) {
        hooks->marked = edit_hooks(ed, hooks, read);
        drop_marked(ed, in); /* but the document itself stays */
    } else if (ed->request->program && hooks) {
        edit(ed, hooks->value, hooks->end, new_hooks(ed, gap_before(ed, hooks->begin)));
    } else if (ed->request->program) {
        gap = last_gap(ed, in);
        insert(ed, in, false, new_member(ed, "hooks", gap, new_hooks(ed, gap)));
    }
}

int register_edit(const char *text, size_t len, const char *where,
                  const struct register_request *request, struct arena *a,
                  struct register_result *ret, struct err *e)
{
    struct editor ed = {.text = text, .request = request, .arena = a, .actions = ret->actions};
    struct document read = {0};
    struct json_item root = {0};
    const struct json_doc doc = {
        .table = &document_table, .dest = &read, .edited = &root, .text = text};
    char shown[200];
    int r = json_read_text(text, len, &doc, 1, 0, where, a, e);

    *ret = (struct register_result){
        .actions = {"absent", "absent", "absent", "absent"}, .text = text, .len = len};
    str_escape(where, shown, sizeof shown);
    if (r == 0)
        r = err_input(e, "%s: empty, expected the JSON object of a bundle's config.json", shown);
    if (r < 0)
        return r;
    edit_document(&ed, &root, read.hooks);
    if (ed.count > 0)
        apply(&ed, ret);
    /* A document of ours that no stage would read is worse than none. */
    if (ret->changed && ret->len > OCI_MAX_BYTES)
        return err_input(e, "%s: too long with the hook in it, %zu bytes, expected at most %zu",
                         shown, ret->len, OCI_MAX_BYTES);
    return 0;
}
