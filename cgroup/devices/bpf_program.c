/* SPDX-License-Identifier: Apache-2.0 */

/* The program that gives the verdicts of a table. Pure. */

#include "cgroup/devices/bpf.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define INSNS_MAX 1000000

/*
 * A jump reaches 32,767 instructions. Where code is only reached by jumps, an island of further
 * jumps is put in when the oldest open jump has come this far; between two such places there is no
 * more than one way down the tree, far less than the difference.
 */
#define ISLAND_AT   30000
#define ISLAND_FROM 15000

/* Registers. R0 is free until the verdict. */
#define R_SCRATCH BPF_REG_0
#define R_CONTEXT BPF_REG_1
#define R_TYPE    BPF_REG_2
#define R_ACCESS  BPF_REG_3
#define R_MAJOR   BPF_REG_4
#define R_MINOR   BPF_REG_5

/* Labels 0 to 7 are the verdicts, by allowed CG_DEV_* bits; from LABEL_TREE on they are a stack. */
enum { LABEL_MINORS = CG_DEV_RWM + 1, LABEL_BLOCK, LABEL_TREE, LABELS = LABEL_TREE + 80 };

struct slot {
    struct bpf_insn insn;
    uint32_t next; /* 1 + the previous open jump to the same label */
};

struct label {
    uint32_t last;  /* 1 + the latest open jump, 0: none */
    uint32_t first; /* 1 + the oldest */
};

struct gen {
    struct arena *a;
    struct slot *code;
    size_t count;
    struct label labels[LABELS];
    size_t tree; /* labels in use */
    bool failed; /* too large */
};

/* Where a search ends. */
struct target {
    enum { VERDICT, MINORS_OF_ANY, MINORS_OF_MAJOR } kind;
    uint8_t bits;                     /* VERDICT */
    const struct cg_dev_entry *items; /* MINORS_OF_MAJOR: its entries, (major, any) last if there */
    size_t count;
};

/* Numbers that share a target. Searches run over sorted, disjoint ranges. */
struct range {
    uint32_t low, high;
    struct target target;
};

struct ranges {
    struct range *items;
    size_t count;
    struct target fallback; /* of all other numbers; never MINORS_OF_MAJOR */
};

static void emit(struct gen *g, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
    struct slot *slot;

    if (g->count >= INSNS_MAX)
        g->failed = true;
    if (g->failed)
        return;
    slot = &ARENA_APPEND(g->a, g->code, g->count);
    slot->insn = (struct bpf_insn){
        .code = code, .dst_reg = dst & 0xfu, .src_reg = src & 0xfu, .off = off, .imm = imm};
}

/* The instruction just emitted jumps to @label. */
static void open_jump(struct gen *g, size_t label)
{
    if (g->failed)
        return;
    g->code[g->count - 1].next = g->labels[label].last;
    g->labels[label].last = (uint32_t)g->count;
    if (!g->labels[label].first)
        g->labels[label].first = (uint32_t)g->count;
}

/* All open jumps to @label go to the next instruction. */
static void bind(struct gen *g, size_t label)
{
    uint32_t source = g->labels[label].last;

    while (source && !g->failed) {
        struct slot *slot = &g->code[source - 1];
        size_t distance = g->count - source;

        if (distance > INT16_MAX)
            g->failed = true;
        slot->insn.off = (int16_t)distance;
        source = slot->next;
    }
    g->labels[label] = (struct label){0};
}

static int32_t kernel_bits(uint8_t access)
{
    return (access & CG_DEV_R ? BPF_DEVCG_ACC_READ : 0) |
           (access & CG_DEV_W ? BPF_DEVCG_ACC_WRITE : 0) |
           (access & CG_DEV_M ? BPF_DEVCG_ACC_MKNOD : 0);
}

static void emit_verdict(struct gen *g, uint8_t bits)
{
    emit(g, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, bits == CG_DEV_RWM);
    if (bits != 0 && bits != CG_DEV_RWM) {
        emit(g, BPF_JMP | BPF_JSET | BPF_K, R_ACCESS, 0, 1, kernel_bits((uint8_t)~bits));
        emit(g, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
    }
    emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static size_t age(const struct gen *g, size_t label)
{
    return g->labels[label].first ? g->count - g->labels[label].first : 0;
}

/* To be called where the previous instruction does not fall through. */
static void island(struct gen *g)
{
    size_t oldest = 0;

    for (size_t i = 0; i < g->tree; i++)
        oldest = age(g, i) > oldest ? age(g, i) : oldest;
    if (oldest < ISLAND_AT)
        return;
    for (size_t i = 0; i < g->tree; i++) {
        if (age(g, i) < ISLAND_FROM)
            continue;
        bind(g, i);
        if (i <= CG_DEV_RWM) {
            emit_verdict(g, (uint8_t)i);
        } else {
            emit(g, BPF_JMP | BPF_JA, 0, 0, 0, 0);
            open_jump(g, i);
        }
    }
}

static size_t fallback_label(const struct target *t)
{
    return t->kind == VERDICT ? t->bits : (size_t)LABEL_MINORS;
}

/* Compare as unsigned and jump. Immediates are sign-extended: large ones go through a register. */
static void emit_compare(struct gen *g, uint8_t op, uint8_t reg, uint32_t number, size_t label)
{
    if (number <= INT32_MAX) {
        emit(g, BPF_JMP | op | BPF_K, reg, 0, 0, (int32_t)number);
    } else {
        emit(g, BPF_ALU | BPF_MOV | BPF_K, R_SCRATCH, 0, 0, (int32_t)number);
        emit(g, BPF_JMP | op | BPF_X, reg, R_SCRATCH, 0, 0);
    }
    open_jump(g, label);
}

static void emit_target(struct gen *g, const struct target *t, const struct target *fallback);

/*
 * Binary search of a register that is known to lie in [low, high]. Every way through ends in a
 * verdict or a jump.
 */
static void emit_search(struct gen *g, uint8_t reg, const struct ranges *r, size_t first,
                        size_t count, uint32_t low, uint32_t high)
{
    if (count == 0) {
        emit_target(g, &r->fallback, NULL);
    } else if (count == 1) {
        const struct range *only = &r->items[first];
        size_t label = fallback_label(&r->fallback);

        if (only->low == only->high && low < high) {
            emit_compare(g, BPF_JNE, reg, only->low, label);
        } else {
            if (only->low > low)
                emit_compare(g, BPF_JLT, reg, only->low, label);
            if (only->high < high)
                emit_compare(g, BPF_JGT, reg, only->high, label);
        }
        emit_target(g, &only->target, &r->fallback);
    } else {
        size_t half = count / 2, right = g->tree;
        uint32_t pivot = r->items[first + half].low;

        if (right == LABELS) {
            g->failed = true;
            return;
        }
        g->tree++;
        emit_compare(g, BPF_JGE, reg, pivot, right);
        emit_search(g, reg, r, first, half, low, pivot - 1);
        bind(g, right);
        g->tree--;
        emit_search(g, reg, r, first + half, count - half, pivot, high);
    }
}

static void add_range(struct gen *g, struct ranges *r, uint32_t number, const struct target *target)
{
    struct range *last = r->count > 0 ? &r->items[r->count - 1] : NULL;

    /* Neighbours with the same verdict are one range. */
    if (last && last->high + 1 == number && last->target.kind == VERDICT &&
        target->kind == VERDICT && last->target.bits == target->bits) {
        last->high = number;
        return;
    }
    ARENA_APPEND(g->a, r->items, r->count) =
        (struct range){.low = number, .high = number, .target = *target};
}

/* Search the minor number among the entries of one major number, or of any. */
static void emit_minors(struct gen *g, const struct cg_dev_entry *items, size_t count,
                        const struct target *fallback)
{
    struct ranges r = {.fallback = *fallback};

    for (size_t i = 0; i < count; i++) {
        const struct target target = {.kind = VERDICT, .bits = items[i].access};

        if (items[i].minor == CG_DEV_ANY)
            r.fallback = target;
        else
            add_range(g, &r, (uint32_t)items[i].minor, &target);
    }
    emit_search(g, R_MINOR, &r, 0, r.count, 0, UINT32_MAX);
}

static void emit_target(struct gen *g, const struct target *t, const struct target *fallback)
{
    switch (t->kind) {
    case VERDICT:
        emit_verdict(g, t->bits);
        island(g);
        break;
    case MINORS_OF_ANY:
        emit(g, BPF_JMP | BPF_JA, 0, 0, 0, 0);
        open_jump(g, LABEL_MINORS);
        island(g);
        break;
    case MINORS_OF_MAJOR:
        emit_minors(g, t->items, t->count, fallback);
        break;
    }
}

static void emit_load(struct gen *g, uint8_t reg, size_t offset)
{
    emit(g, BPF_LDX | BPF_MEM | BPF_W, reg, R_CONTEXT, (int16_t)offset, 0);
}

/*
 * Search the entries of one device type: the major number first, then the minor among those of that
 * major. Majors without an (major, any) entry share one search of the (any, minor) entries, behind.
 */
static void emit_type(struct gen *g, const struct cg_dev_entry *items, size_t count)
{
    const struct cg_dev_entry *lines;
    struct ranges r = {.fallback = {.kind = VERDICT}};
    struct target all = {.kind = VERDICT};
    size_t majors = 0;

    while (majors < count && items[majors].major != CG_DEV_ANY)
        majors++;
    lines = items + majors;
    count -= majors;
    if (count > 0 && lines[count - 1].minor == CG_DEV_ANY)
        all.bits = lines[--count].access;
    r.fallback = all;
    if (count > 0)
        r.fallback = (struct target){.kind = MINORS_OF_ANY};

    for (size_t i = 0, end; i < majors; i = end) {
        struct target target = {.kind = VERDICT, .bits = items[i].access};

        for (end = i + 1; end < majors && items[end].major == items[i].major;)
            end++;
        if (items[i].minor != CG_DEV_ANY)
            target = (struct target){.kind = MINORS_OF_MAJOR, .items = items + i, .count = end - i};
        add_range(g, &r, (uint32_t)items[i].major, &target);
    }
    emit_search(g, R_MAJOR, &r, 0, r.count, 0, UINT32_MAX);
    if (count > 0) {
        bind(g, LABEL_MINORS);
        /* Loaded again so that the verifier forgets what the way here has told it of the number,
         * and walks this part once instead of once for each major. */
        emit_load(g, R_MINOR, offsetof(struct bpf_cgroup_dev_ctx, minor));
        emit_minors(g, lines, count, &all);
    }
}

static void emit_program(struct gen *g, const struct cg_dev_table *t)
{
    size_t blocks = 0;

    while (blocks < t->count && t->items[blocks].type == 'b')
        blocks++;
    emit_load(g, R_TYPE, offsetof(struct bpf_cgroup_dev_ctx, access_type));
    emit(g, BPF_ALU | BPF_MOV | BPF_X, R_ACCESS, R_TYPE, 0, 0);
    emit(g, BPF_ALU | BPF_RSH | BPF_K, R_ACCESS, 0, 0, 16);
    emit(g, BPF_ALU | BPF_AND | BPF_K, R_TYPE, 0, 0, 0xffff);
    emit_load(g, R_MAJOR, offsetof(struct bpf_cgroup_dev_ctx, major));
    emit_load(g, R_MINOR, offsetof(struct bpf_cgroup_dev_ctx, minor));

    emit_compare(g, BPF_JNE, R_TYPE, BPF_DEVCG_DEV_CHAR, LABEL_BLOCK);
    emit_type(g, t->items + blocks, t->count - blocks);
    bind(g, LABEL_BLOCK);
    emit_compare(g, BPF_JNE, R_TYPE, BPF_DEVCG_DEV_BLOCK, 0);
    emit_type(g, t->items, blocks);
    for (size_t i = 0; i <= CG_DEV_RWM; i++) {
        if (g->labels[i].last) {
            bind(g, i);
            emit_verdict(g, (uint8_t)i);
        }
    }
}

int cg_bpf_device_program(const struct cg_dev_table *t, struct arena *a, struct cg_bpf_program *ret,
                          struct err *e)
{
    autoarena scratch = ARENA_INIT;
    struct gen g = {.a = &scratch, .tree = LABEL_TREE};

    emit_program(&g, t);
    if (g.failed)
        return err_set(e, -E2BIG,
                       "%zu device rules make a program of more than the %d instructions that the "
                       "kernel takes; use wildcards",
                       t->count, INSNS_MAX);
    ret->count = g.count;
    ret->insns = arena_alloc(a, g.count * sizeof *ret->insns);
    for (size_t i = 0; i < g.count; i++)
        ret->insns[i] = g.code[i].insn;
    return 0;
}
