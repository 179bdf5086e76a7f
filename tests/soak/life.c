/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/soak/life.h"

#include "tests/fault/kit.h"
#include "tests/fault/world.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IN_POD_MAX = 4 };

/* One container of a life. */
struct one {
    char id[48], own[160];
    char bundle[PATH_MAX];
    pid_t pid, vmm; /* 0: none */
};

struct life {
    struct lives *l;
    uint64_t row, kills; /* what it is like does not depend on when stages were killed */
    const char *conf;
    char who[128];      /* for what is printed */
    const char *parent; /* the cgroup of its pod, and its id */
    const char *pod;
    bool is_split; /* there is to be a VMM */
    struct one all[IN_POD_MAX];
    size_t count;
};

static const struct {
    const char *layout, *only;
} confs[CONFS] = {
    {"nested", "false"}, {"nested", "true"}, {"sibling", "false"}, {"sibling", "true"}};
static char conf_paths[CONFS][128];

const char *stage_word(enum stage_kind kind)
{
    static const char *const words[STAGE_KINDS] = {"setup", "poststart", "poststop", "prune",
                                                   "list"};

    return words[kind];
}

const char *conf_path(size_t i)
{
    return conf_paths[i];
}

const char *conf_word(size_t i)
{
    static const char *const words[CONFS] = {"nested", "nested-only", "sibling", "sibling-only"};

    return words[i];
}

void confs_write(void)
{
    char text[512];

    for (size_t i = 0; i < CONFS; i++) {
        snprintf(conf_paths[i], sizeof *conf_paths, "%s/%s.json", world.work, conf_word(i));
        snprintf(
            text, sizeof text,
            "{\"overhead_parent\":\"%s/overhead\",\"layout\":\"%s\",\"vcpu_evidence\":\"name\","
            "\"sandbox_cgroup_only\":%s,\"vcpu_timeout_ms\":3600000}\n",
            world.base, confs[i].layout, confs[i].only);
        make_file(conf_paths[i], text);
    }
}

/* --- stages ---------------------------------------------------------------------- */

/* `prune` says which sandboxes are being worked at, and that is no failure of anybody. */
static bool is_busy(enum stage_kind kind, const struct stage *s)
{
    return kind == PRUNE && s->status == 1 && strstr(s->err, "another stage holds it");
}

bool life_stage(struct lives *l, enum stage_kind kind, const char *conf, const char *word,
                const char *input, const char *who, uint64_t *kills, struct stage *ret)
{
    const char *const words[] = {word, NULL};
    struct tally *t = &l->stages[kind];
    int64_t *usual = &l->usual_us[kind], kill_after = NO_KILL;
    char text[4096] = "";

    if (kills && draw_below(kills, t->killed * 10 < t->run ? 5 : 20) == 0)
        kill_after = (int64_t)(draw(kills) % (uint64_t)(*usual ? *usual : 10000));
    stage_run(conf, words, input, kill_after, ret);
    t->run++;
    if (ret->killed) {
        t->killed++;
        return false;
    }
    if (ret->status == 0) {
        /* Where many wait for a CPU a few take much longer than most. */
        *usual =
            *usual ? (*usual * 7 + (ret->us < *usual * 2 ? ret->us : *usual * 2)) / 8 : ret->us;
        return true;
    }
    if (is_busy(kind, ret))
        return false;
    t->failed++;
    append(text, sizeof text, "FAIL  %s: %s: exit status %d: %s", who, word, ret->status,
           ret->err[0] ? ret->err : "-\n");
    /* At once, as others write there, too. */
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        exit(1);
    return false;
}

static bool run_stage(struct life *life, enum stage_kind kind, const char *word,
                      const struct one *c, const char *status)
{
    char input[PATH_MAX + 256], who[256];
    struct stage s;

    stage_input(c->id, status, c->pid, c->bundle, input, sizeof input);
    snprintf(who, sizeof who, "%s, container %s", life->who, c->id);
    return life_stage(life->l, kind, life->conf, word, input, who, &life->kills, &s);
}

/* --- containers ------------------------------------------------------------------ */

void life_bundle(const char *id, const char *own, const char *annotations, char ret[PATH_MAX])
{
    char file[PATH_MAX + 16], text[2048];

    snprintf(ret, PATH_MAX, "%s/bundle-%s", world.work, id);
    mkdir(ret, 0700);
    snprintf(text, sizeof text,
             "{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"sleep\"],\"cwd\":\"/\"},"
             "\"root\":{\"path\":\"rootfs\"},\"annotations\":{%s},"
             "\"linux\":{\"namespaces\":[{\"type\":\"pid\"}],\"cgroupsPath\":\"%s\","
             "\"resources\":{%s%s%s\"devices\":[{\"allow\":true,\"access\":\"rwm\"}]}}}\n",
             annotations, own,
             has_controller("cpu") ? "\"cpu\":{\"quota\":50000,\"period\":100000,\"shares\":512},"
                                   : "",
             has_controller("memory") ? "\"memory\":{\"limit\":536870912}," : "",
             has_controller("pids") ? "\"pids\":{\"limit\":64}," : "");
    snprintf(file, sizeof file, "%s/config.json", ret);
    make_file(file, text);
}

static void remove_bundle(const struct one *c)
{
    char file[PATH_MAX + 16];

    snprintf(file, sizeof file, "%s/config.json", c->bundle);
    unlink(file);
    rmdir(c->bundle);
}

/* As runtimes do, from the bottom up: on v2 a split that nobody has undone leaves one in it. */
static void remove_own(const struct one *c)
{
    char child[192];

    snprintf(child, sizeof child, "%s/kata_vcpu", c->own);
    remove_cgroup(child);
    remove_cgroup(c->own);
}

static void create(struct one *c, const char *annotations)
{
    life_bundle(c->id, c->own, annotations, c->bundle);
    make_cgroup(c->own);
    set_own_quota(c->own);
    c->pid = payload_start(false);
    enter(c->pid, c->own);
}

static void end_payload(struct one *c)
{
    end_process(c->vmm);
    end_process(c->pid);
    c->vmm = c->pid = 0;
}

/* The runtime deletes the container: its processes, and its cgroup before or after poststop, which may be
 * killed, too. Then nobody calls it again. */
static void delete (struct life *life, struct one *c, bool call)
{
    bool before = draw_below(&life->row, 2);

    end_payload(c);
    if (before)
        remove_own(c);
    if (call)
        run_stage(life, POSTSTOP, "poststop", c, "stopped");
    if (!before)
        remove_own(c);
    remove_bundle(c);
    c->id[0] = '\0';
}

/* crun does not call poststop for a container whose setup has failed. */
static bool set_up(struct life *life, struct one *c)
{
    static const char *const stages[] = {"prestart", "createRuntime"};

    if (run_stage(life, SET_UP, stages[draw_below(&life->row, 2)], c, "created"))
        return true;
    delete (life, c, draw_below(&life->row, 3) > 0);
    return false;
}

/* It runs: with a VMM beside init, for some time, which may be none. */
static void run(struct life *life, struct one *c, bool vmm)
{
    if (vmm) {
        c->vmm = payload_start(true);
        payload_join(c->vmm, c->pid);
    }
    if (draw_below(&life->row, 3) == 0)
        run_stage(life, POSTSTART, "poststart", c, "running");
    if (draw_below(&life->row, 2) == 0)
        usleep(draw_below(&life->row, 40000));
}

/* --- lives ------------------------------------------------------------------------ */

static void live_alone(struct life *life, const char *id)
{
    struct one *c = &life->all[0];

    snprintf(c->id, sizeof c->id, "%s", id);
    snprintf(c->own, sizeof c->own, "%s/%s", world.base, id);
    create(c, "");
    if (!set_up(life, c))
        return;
    run(life, c, draw_below(&life->row, 3) > 0);
    delete (life, c, true);
}

/* The first one is the sandbox, which has its id. */
static void pod_join(struct life *life, size_t i)
{
    struct one *c = &life->all[i];
    char annotations[256], suffix[24] = "";

    if (i > 0)
        snprintf(suffix, sizeof suffix, "-c%zu", i);
    snprintf(c->id, sizeof c->id, "%s%s", life->pod, suffix);
    snprintf(c->own, sizeof c->own, "%s/%s%s", life->parent, life->pod, suffix);
    snprintf(annotations, sizeof annotations,
             "\"io.kubernetes.cri.container-type\":\"%s\","
             "\"io.kubernetes.cri.sandbox-id\":\"%s\"",
             i == 0 ? "sandbox" : "container", life->pod);
    create(c, annotations);
    if (set_up(life, c))
        run(life, c, i == 0 && draw_below(&life->row, 2) == 0);
}

/* Containers come, go and come again; the sandbox is the last. */
static void live_in_pod(struct life *life, const char *id)
{
    unsigned steps = 2 + draw_below(&life->row, 6);
    char parent[96];

    life->l->pods++;
    snprintf(parent, sizeof parent, "%s/pod-%s", world.base, id);
    life->pod = id;
    life->parent = parent;
    make_cgroup(parent);
    pod_join(life, 0);
    while (steps-- > 0) {
        size_t i = 1 + draw_below(&life->row, IN_POD_MAX - 1);

        if (life->all[i].id[0])
            delete (life, &life->all[i], true);
        else
            pod_join(life, i);
    }
    for (size_t i = IN_POD_MAX; i-- > 0;) {
        if (life->all[i].id[0])
            delete (life, &life->all[i], true);
    }
    /* While something is in it a runtime leaves it, and comes again: see life_remove_parents(). */
    for (size_t i = 0; i < world.count; i++) {
        char dir[512];

        snprintf(dir, sizeof dir, "%s%s", world.hierarchies[i].dir, life->parent);
        rmdir(dir);
    }
}

void life_run(struct lives *l, uint64_t seed, unsigned long i, unsigned job)
{
    struct life life = {.l = l, .row = seed + i * UINT64_C(1000003)};

    unsigned conf = draw_below(&life.row, CONFS);
    bool pod = draw_below(&life.row, 4) == 0;
    char id[32];

    life.kills = ~life.row;
    life.conf = conf_path(conf);
    snprintf(life.who, sizeof life.who, "life %lu, %s%s", i, conf_word(conf), pod ? ", a pod" : "");
    /* Ids come back, as those of engines do whose users choose them. */
    if (draw_below(&life.row, 4) == 0)
        snprintf(id, sizeof id, "again%u", job);
    else
        snprintf(id, sizeof id, "n%lu", i);
    if (pod)
        live_in_pod(&life, id);
    else
        live_alone(&life, id);
    l->lived++;
}

void life_remove_parents(void)
{
    for (size_t i = 0; i < world.count; i++) {
        char path[768];
        struct dirent *entry;
        DIR *dir;

        snprintf(path, sizeof path, "%s%s", world.hierarchies[i].dir, world.base);
        dir = opendir(path);
        while (dir && (entry = readdir(dir))) {
            snprintf(path, sizeof path, "%s%s/%s", world.hierarchies[i].dir, world.base,
                     entry->d_name);
            if (strncmp(entry->d_name, "pod-", 4) == 0)
                rmdir(path);
        }
        if (dir)
            closedir(dir);
    }
}
