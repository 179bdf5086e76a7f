/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/explain.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/limits/table.h"

/* Of a row, by its name; AGGREGATE_KINDS: only a lone container's counts, and `update` sets none. */
static enum aggregate_kind kind_of(const struct cg_limit_row *row)
{
    static const char *const names[AGGREGATE_KINDS] = {
        [AGGREGATE_BANDWIDTH] = "cpu.quota",
        [AGGREGATE_SHARES] = "cpu.shares",
        [AGGREGATE_MEMORY] = "memory.limit",
        [AGGREGATE_SWAP] = "memory.swap",
        [AGGREGATE_PIDS] = "pids.limit",
        [AGGREGATE_HUGETLB] = "hugepageLimits",
        [AGGREGATE_CPUS] = "cpu.cpus",
        [AGGREGATE_MEMS] = "cpu.mems",
        [AGGREGATE_BURST] = "cpu.burst",
        [AGGREGATE_IDLE] = "cpu.idle",
        [AGGREGATE_RESERVATION] = "memory.reservation",
    };
    size_t i = 0;

    while (i < AGGREGATE_KINDS && !str_eq(names[i], row->name))
        i++;
    return (enum aggregate_kind)i;
}

static bool is_lone(enum aggregate_kind kind)
{
    return kind >= AGGREGATE_LONE;
}

static bool is_updated(const struct explain_job *job, enum aggregate_kind kind)
{
    return kind < AGGREGATE_KINDS && job->p->limits.notes.kinds[kind].fate == AGGREGATE_UPDATED;
}

/* The container that is planned for comes behind the others. */
static struct aggregate_member member_at(const struct explain_job *job, size_t i)
{
    return i < job->in->other_count
               ? job->in->others[i]
               : (struct aggregate_member){job->p->container_id, job->p->resources, false};
}

/* "linux.resources.cpu.quota of c1, c2"; NULL: nobody has it. */
static const char *owners(const struct explain_job *job, const struct cg_limit_row *row)
{
    autosbuf text = SBUF_INIT;
    bool any = false;

    sbuf_addf(&text, "linux.resources.%s of", row->name);
    for (size_t i = 0; i <= job->in->other_count; i++) {
        const struct aggregate_member member = member_at(job, i);
        struct cg_limits own;

        aggregate_container(member.resources, job->a, &own);
        if (!cg_limit_is_set(row, &own))
            continue;
        sbuf_addf(&text, "%s %s", any ? "," : "", member.id ? member.id : "another container");
        any = true;
    }
    return any ? arena_strdup(job->a, sbuf_text(&text)) : NULL;
}

static const char *lacking(const struct explain_job *job, const struct aggregate_note *note)
{
    return arena_printf(job->a, "no limit for all, because container %s has none",
                        note->lacking && note->lacking->id ? note->lacking->id : "another");
}

/* What the runtime's documents say besides config.json's word. */
static const char *alone_reason(const struct plan *p, enum aggregate_kind kind)
{
    const struct plan_reasons *why = &p->why;

    if ((why->scope_memory && (kind == AGGREGATE_MEMORY || kind == AGGREGATE_SWAP)) ||
        (why->scope_pids && kind == AGGREGATE_PIDS) ||
        (why->scope_cpu && kind == AGGREGATE_BANDWIDTH))
        return "an annotation org.systemd.property.* makes the container's own less";
    if (why->raised_pids && kind == AGGREGATE_PIDS)
        return "the container's own: 0 is a limit there, and 1 says the same here";
    return "the container's own";
}

static const char *written_reason(const struct explain_job *job, enum aggregate_kind kind)
{
    const struct aggregate_notes *notes = &job->p->limits.notes;
    const char *overhead = kind < AGGREGATE_KINDS && notes->has_overhead[kind]
                               ? ", and memory_overhead_bytes of the configuration"
                               : "";

    if (notes->alone || is_lone(kind))
        return arena_printf(job->a, "%s%s", alone_reason(job->p, kind), overhead);
    switch (notes->kinds[kind].fate) {
    case AGGREGATE_LACKING:
        return lacking(job, &notes->kinds[kind]);
    case AGGREGATE_UNLIMITED:
        return "the containers say that there is no limit";
    case AGGREGATE_TOO_MUCH:
        return "no limit, because the sum is more than the kernel takes";
    default:
        return arena_printf(job->a, "%s %zu containers%s",
                            kind == AGGREGATE_CPUS || kind == AGGREGATE_MEMS ? "the union of"
                                                                             : "the sum of",
                            job->in->other_count + 1, overhead);
    }
}

static const char *left_out_reason(const struct explain_job *job, const struct cg_limit_row *row,
                                   enum aggregate_kind kind)
{
    const struct aggregate_notes *notes = &job->p->limits.notes;
    bool v2 = job->p->mode == CG_MODE_V2;

    if (notes->cpuset_only && kind != AGGREGATE_CPUS && kind != AGGREGATE_MEMS)
        return "resources is kata: of all limits the cpuset is kept";
    if (!notes->alone && is_lone(kind) && !is_updated(job, kind))
        return "it cannot be added up, so only a lone container's is kept";
    if (!notes->alone && !is_lone(kind) && notes->kinds[kind].fate == AGGREGATE_LACKING)
        return lacking(job, &notes->kinds[kind]);
    if (!(v2 ? row->v2_file : row->v1_file))
        return arena_printf(job->a, "cgroups of %s have no file for it",
                            cg_mode_name(job->p->mode));
    return "it says what holds without it";
}

/* The text of linux.resources.unified for a file, NULL without. */
static const char *unified_text(const struct plan *p, const char *file)
{
    const char *text = NULL;

    for (size_t i = 0; i < p->resources->unified.count; i++) {
        const struct json_pair *u = &JSON_AT(p->resources->unified, struct json_pair, i);

        text = str_eq(u->key, file) ? u->value : text;
    }
    return text;
}

/* The files of a limit that has two are set together. */
static bool is_file_updated(const struct explain_job *job, const struct cg_limit_row *row,
                            const char *file)
{
    if (row && row->name)
        return is_updated(job, kind_of(row));
    return str_eq(file, "cpu.cfs_period_us") && is_updated(job, AGGREGATE_BANDWIDTH);
}

static void written(const struct explain_job *job, const struct cg_file *file)
{
    const struct cg_limit_row *row = cg_limit_row_of(file->file, job->p->mode == CG_MODE_V2);
    const char *decision = arena_printf(job->a, "limit %s", file->file);
    const char *unified = unified_text(job->p, file->file), *source = NULL;
    bool is_unified = unified && str_eq(unified, file->text);
    bool is_named = row && row->name && !is_unified;
    bool is_less =
        unified && !is_unified && job->p->limits.notes.alone && !job->p->limits.notes.cpuset_only;

    if (is_file_updated(job, row, file->file)) {
        explain_add(job, decision, file->text, "set by `update`", "record");
        return;
    }
    if (is_unified)
        source = "linux.resources.unified";
    else if (is_named)
        source = owners(job, row);
    if (!source)
        source = "linux.resources.cpu.period";
    explain_add(job, decision, file->text,
                arena_printf(job->a, "%s%s",
                             written_reason(job, is_named ? kind_of(row) : AGGREGATE_KINDS),
                             is_less ? ", which leaves less than unified's" : ""),
                source);
}

static bool is_written(const struct cg_files *files, const struct cg_limit_row *row, bool v2)
{
    for (size_t i = 0; i < files->count; i++) {
        const struct cg_limit_row *of = cg_limit_row_of(files->items[i].file, v2);

        if (of && of->name && str_eq(of->name, row->name))
            return true;
    }
    return false;
}

static void left_out(const struct explain_job *job)
{
    const struct cg_files *files = &job->p->limits.sandbox.files;
    size_t count;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    for (size_t i = 0; i < count; i++) {
        const char *source = rows[i].name ? owners(job, &rows[i]) : NULL;

        /* Some limits have two rows. */
        if (!source || (i > 0 && str_eq(rows[i].name, rows[i - 1].name)) ||
            is_written(files, &rows[i], job->p->mode == CG_MODE_V2))
            continue;
        explain_add(job, arena_printf(job->a, "limit %s", rows[i].name), "left out",
                    left_out_reason(job, &rows[i], kind_of(&rows[i])), source);
    }
}

static void nested_limits(const struct explain_job *job)
{
    const struct cg_files *files = &job->p->limits.sandbox.files;

    explain_add(
        job, "limits", "the runtime's own",
        "with layout nested the runtime's cgroup keeps its limits, but for the CPU quota of v2",
        "layout");
    for (size_t i = 0; i < files->count; i++)
        explain_add(job, arena_printf(job->a, "limit %s", files->items[i].file),
                    files->items[i].text, "the vCPUs get it once they are set apart",
                    str_eq(files->items[i].file, "cpu.max.burst") ? "linux.resources.cpu.burst"
                                                                  : "linux.resources.cpu.quota");
}

void explain_limits(const struct explain_job *job)
{
    const struct plan_cgroup *c = &job->p->limits.sandbox;

    if (job->p->layout == LAYOUT_NESTED) {
        nested_limits(job);
        return;
    }
    for (size_t i = 0; i < c->files.count; i++)
        written(job, &c->files.items[i]);
    left_out(job);
    for (size_t i = 0; i < c->resets.count; i++)
        explain_add(job, arena_printf(job->a, "limit %s", c->resets.items[i].file),
                    c->resets.items[i].text, "it was set before, and is no more", "record");
}

/* ---- the overhead ---- */

static void overhead_file(const struct explain_job *job, const struct cg_file *file)
{
    static const char *const sources[] = {
        [POLICY_DEFAULT] = "default",
        [POLICY_CONFIG] = "configuration: overhead_limits",
        [POLICY_ANNOTATION] = "annotation oci-sandbox-cgroup.io/overhead-cpu-quota",
    };
    enum policy_source from = job->p->why.overhead_quota;
    bool shares = str_eq(file->file, "cpu.shares"), v2 = job->p->mode == CG_MODE_V2;
    const char *reason;

    if (shares) {
        from = job->p->why.overhead_shares_own ? POLICY_DEFAULT : POLICY_CONFIG;
        reason = job->p->why.overhead_shares_own
                     ? "nobody says otherwise, so the overhead competes as the sandbox does"
                     : "the overhead has shares of its own";
    } else if (v2) {
        reason = from == POLICY_DEFAULT
                     ? "lifted, as the vCPUs have the quota and nobody limits the overhead"
                     : "the vCPUs' quota and the overhead's together";
    } else {
        reason = "the overhead's own quota";
    }
    explain_add(job, arena_printf(job->a, "overhead limit %s", file->file), file->text, reason,
                sources[from]);
}

void explain_overhead(const struct explain_job *job)
{
    const struct cg_files *files = &job->p->overhead.files;

    for (size_t i = 0; i < files->count; i++)
        overhead_file(job, &files->items[i]);
    if (job->p->overhead_path && files->count == 0)
        explain_add(job, "overhead_limits", "none",
                    job->p->mode == CG_MODE_V2 ? "nothing is split that it could hold"
                                               : "nobody limits the overhead's CPU time",
                    explain_key(job->in->settings->overhead_limits != NULL,
                                "configuration: overhead_limits"));
    else if (!job->p->overhead_path)
        explain_add(job, "overhead_limits", "none",
                    "sandbox_cgroup_only: the overhead is under the sandbox's limits",
                    "sandbox_cgroup_only");
    for (size_t i = 0; i < job->p->warnings.count; i++) {
        if (str_starts(job->p->warnings.items[i], "overhead_limits: "))
            explain_add(job, "overhead_limits", "left out", job->p->warnings.items[i],
                        "configuration: overhead_limits");
    }
}
