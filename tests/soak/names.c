/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Containers and pods whose ids, paths and sandboxes collide, with strangers in the places that ours would have.
 * After each step of a container whatever is another's has to be as it was. tests/soak/names says how to call it.
 */

#include "tests/soak/names.h"

#include "tests/fault/kit.h"
#include "tests/fault/world.h"
#include "tests/soak/life.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LATE_MAX = 4, KILLS = 4 };

/* What names are made of: each is the beginning of another, or what ours would be called of another. */
static const char *const ids[] = {"a", "ab", "b", "kata_a", "kata_kata_a", "a.b", "p", "kata_p"};
static const char *const parents[] = {"", "", "/p", "/q", "/overhead", "/kata_a", "/p/kata_a"};
#define ANY(row, list) (list)[draw_below(row, sizeof(list) / sizeof *(list))]

static struct options {
    unsigned long steps;
    unsigned long long seed;
    const char *program, *fake_vmm;
} options = {.steps = 200};

static const char *self;
static uint64_t row, kills;
static struct lives lives;
static struct owner owners[OWNERS_MAX];
/* Of containers that are gone, whose poststop may come once more. */
static char late_inputs[LATE_MAX][PATH_MAX + 256];
static const char *late_confs[LATE_MAX];
static unsigned accepted, refused, killed, strangers;

/* --- what there may be --------------------------------------------------------------- */

/* As mkdir -p; whether there was none. */
static void make_with_parents(const char *path)
{
    char part[OWN_SIZE];

    for (const char *p = path + strlen(world.base); (p = strchr(p + 1, '/'));) {
        snprintf(part, sizeof part, "%.*s", (int)(p - path), path);
        make_cgroup(part);
    }
    make_cgroup(path);
}

/* Whether a runtime would find that path free. */
static bool is_free(const char *path)
{
    char dir[512];

    for (size_t i = 0; i < world.count; i++) {
        snprintf(dir, sizeof dir, "%s%s", world.hierarchies[i].dir, path);
        if (access(dir, F_OK) == 0)
            return false;
    }
    return true;
}

/* One of this kind, if there is any. */
static struct owner *any_of(enum owner_kind kind)
{
    unsigned first = draw_below(&row, OWNERS_MAX);

    for (unsigned i = 0; i < OWNERS_MAX; i++) {
        struct owner *o = &owners[(first + i) % OWNERS_MAX];

        if (o->kind == kind)
            return o;
    }
    return NULL;
}

/* In a pod, or alone. */
static void draw_names(struct owner *o)
{
    const char *parent = ANY(&row, parents), *last;

    o->id = o->sandbox = ANY(&row, ids);
    last = draw_below(&row, 2) ? o->id : ANY(&row, ids);
    snprintf(o->parent, sizeof o->parent, "%s%s", world.base, parent);
    snprintf(o->own, sizeof o->own, "%s%s/%s", world.base, parent, last);
    o->conf = draw_below(&row, CONFS);
    o->in_pod = draw_below(&row, 3) == 0;
    if (o->in_pod && draw_below(&row, 3) > 0)
        o->sandbox = ANY(&row, ids);
}

static void create(struct owner *o, char *what, size_t size)
{
    static unsigned number;
    char annotations[256] = "", name[32];

    draw_names(o);
    if (!is_free(o->own))
        return;
    if (o->in_pod)
        snprintf(annotations, sizeof annotations,
                 "\"io.kubernetes.cri.container-type\":\"%s\","
                 "\"io.kubernetes.cri.sandbox-id\":\"%s\"",
                 strcmp(o->id, o->sandbox) == 0 ? "sandbox" : "container", o->sandbox);
    snprintf(name, sizeof name, "names%u", number++);
    life_bundle(name, o->own, annotations, o->bundle);
    make_with_parents(o->own);
    o->kind = CONTAINER;
    o->is_inside = strstr(o->parent, "/kata_");
    o->pid = payload_start(false);
    enter(o->pid, o->own);
    where_is(o->pid, o->home);
    snprintf(what, size, "create %s as %s, sandbox %s, %s", o->id, o->own, o->sandbox,
             conf_word(o->conf));
}

/* Somebody who has what ours would be called. He may be in one hierarchy alone. */
static void create_stranger(struct owner *o, char *what, size_t size)
{
    static const char *const prefixes[] = {"", "kata_", "kata_kata_"};

    const char *parent = ANY(&row, parents), *prefix = ANY(&row, prefixes);

    snprintf(o->own, sizeof o->own, "%s%s/%s%s", world.base, parent, prefix, ANY(&row, ids));
    if (!is_free(o->own))
        return;
    make_with_parents(o->own);
    o->kind = STRANGER;
    o->is_inside = strstr(parent, "/kata_");
    o->pid = payload_start(false);
    enter(o->pid, o->own);
    set_own_quota(o->own);
    where_is(o->pid, o->home);
    strangers++;
    snprintf(what, size, "a stranger in %s", o->own);
}

static void end(struct owner *o)
{
    end_process(o->vmm);
    end_process(o->pid);
    o->vmm = o->pid = 0;
}

/* --- steps --------------------------------------------------------------------------- */

static void note_late(const struct owner *o)
{
    unsigned i = draw_below(&row, LATE_MAX);

    stage_input(o->id, "stopped", 0, o->bundle, late_inputs[i], sizeof *late_inputs);
    late_confs[i] = conf_path(o->conf);
}

/* May be killed, and may refuse; that is no failure here. Whether it has done its work. */
static bool stage(const char *conf, const char *word, const char *input, char *what, size_t size)
{
    const char *const words[] = {word, NULL};
    int64_t *usual = &lives.usual_us[SET_UP], kill_after = NO_KILL;
    struct stage s;

    if (draw_below(&kills, KILLS) == 0)
        kill_after = (int64_t)(draw(&kills) % (uint64_t)(*usual ? *usual : 10000));
    stage_run(conf, words, input, kill_after, &s);
    if (!s.killed && s.status == 0)
        *usual = *usual ? (*usual * 7 + (s.us < *usual * 2 ? s.us : *usual * 2)) / 8 : s.us;
    killed += s.killed;
    append(what, size, ": %s%s",
           s.killed        ? "killed"
           : s.status == 0 ? "done"
                           : "refused: ",
           s.killed || s.status == 0 ? "" : s.err);
    return !s.killed && s.status == 0;
}

static void set_up(struct owner *o, char *what, size_t size)
{
    static const char *const words[] = {"prestart", "createRuntime", "poststart"};
    unsigned i = draw_below(&row, o->is_set_up ? 3 : 2);
    char input[PATH_MAX + 256];

    if (o->pid == 0)
        return;
    snprintf(what, size, "%s of %s as %s", words[i], o->id, o->own);
    stage_input(o->id, i == 2 ? "running" : "created", o->pid, o->bundle, input, sizeof input);
    if (stage(conf_path(o->conf), words[i], input, what, size)) {
        o->is_set_up = true;
        accepted++;
    } else {
        refused++;
    }
}

static void add_vmm(struct owner *o, char *what, size_t size)
{
    if (o->pid == 0 || o->vmm || !o->is_set_up)
        return;
    snprintf(what, size, "a VMM of %s as %s", o->id, o->own);
    o->vmm = payload_start(true);
    payload_join(o->vmm, o->pid);
    usleep(draw_below(&row, 300000));
}

static void remove_own(const struct owner *o)
{
    char child[OWN_SIZE + 16];

    snprintf(child, sizeof child, "%s/kata_vcpu", o->own);
    for (size_t i = 0; i < world.count; i++) {
        char dir[512];

        snprintf(dir, sizeof dir, "%s%s", world.hierarchies[i].dir, child);
        rmdir(dir);
        snprintf(dir, sizeof dir, "%s%s", world.hierarchies[i].dir, o->own);
        rmdir(dir); /* where others are in it, it stays */
    }
}

/* The runtime ends it, and says so, or does not. */
static void delete (struct owner *o, char *what, size_t size)
{
    char input[PATH_MAX + 256];

    snprintf(what, size, "poststop of %s as %s", o->id, o->own);
    end(o);
    if (draw_below(&row, 2))
        remove_own(o);
    stage_input(o->id, "stopped", 0, o->bundle, input, sizeof input);
    if (draw_below(&row, 4))
        stage(conf_path(o->conf), "poststop", input, what, size);
    remove_own(o);
    note_late(o);
    *o = (struct owner){0};
}

static void late_poststop(char *what, size_t size)
{
    unsigned i = draw_below(&row, LATE_MAX);

    if (!late_confs[i])
        return;
    snprintf(what, size, "a late poststop, %s", late_inputs[i]);
    stage(late_confs[i], "poststop", late_inputs[i], what, size);
}

static void look_around(char *what, size_t size)
{
    static const char *const words[] = {"prune", "list"};
    const char *word = ANY(&row, words);

    snprintf(what, size, "%s", word);
    stage(conf_path(draw_below(&row, CONFS)), word, "", what, size);
}

/* One step, drawn. Whose it is, if anybody's, and who that @was; nothing in @what where there is nothing to do. */
static struct owner *step(struct owner *was, char *what, size_t size)
{
    unsigned kind = draw_below(&row, 100);
    struct owner *o = any_of(kind < 30 ? NOBODY : CONTAINER);

    if (o)
        *was = *o;
    if (kind < 22 && o) {
        create(o, what, size);
    } else if (kind < 30 && o) {
        create_stranger(o, what, size);
    } else if (kind < 60 && o) {
        set_up(o, what, size);
    } else if (kind < 66 && o) {
        add_vmm(o, what, size);
    } else if (kind < 82 && o) {
        delete (o, what, size);
    } else if (kind < 86 && o) {
        snprintf(what, size, "%s as %s dies", o->id, o->own);
        end(o);
    } else if (kind < 92) {
        o = NULL;
        late_poststop(what, size);
    } else if (kind < 96) {
        o = NULL;
        look_around(what, size);
    } else if (kind < 98) {
        o = any_of(STRANGER);
        if (o) {
            *was = *o;
            snprintf(what, size, "the stranger in %s leaves", o->own);
            end(o);
            remove_own(o);
            *o = (struct owner){0};
        }
    }
    return o;
}

/* --- all of it ------------------------------------------------------------------------ */

static bool try_steps(void)
{
    static char problems[TEXT_SIZE];

    owned_note();
    for (unsigned long i = 0; i < options.steps; i++) {
        char what[4096] = "";
        struct owner was = {0}, *o;

        o = step(&was, what, sizeof what);
        if (!what[0])
            continue;
        if (getenv("OSC_VERBOSE"))
            fprintf(stderr, "%lu %s\n", i, what);
        if (o && o->kind != NOBODY)
            was = *o;
        owned_check(owners, o, &was, problems);
        if (problems[0]) {
            printf("FAIL  step %lu, %s\n%s", i, what, problems);
            printf("To repeat: %s --steps %lu --seed %llu\n", self, options.steps, options.seed);
            return false;
        }
    }
    return true;
}

static void take_options(int argc, char **argv)
{
    static const struct option words[] = {
        {"steps", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},
        {0},
    };
    int id;

    options.seed = (unsigned long long)time(NULL) ^ ((unsigned long long)getpid() << 20);
    while ((id = getopt_long(argc, argv, "", words, NULL)) != -1) {
        if (id == 'n')
            options.steps = strtoul(optarg, NULL, 10);
        else if (id == 's')
            options.seed = strtoull(optarg, NULL, 10);
        else
            exit(2);
    }
}

int main(int argc, char **argv)
{
    bool good, all;

    options.program = getenv("OSC_BIN");
    options.fake_vmm = getenv("OSC_FAKE_VMM");
    self = getenv("OSC_SOAK_SELF") ? getenv("OSC_SOAK_SELF") : argv[0];
    take_options(argc, argv);
    if (!options.program || !options.fake_vmm)
        return 2;
    world_open(options.program);
    payload_init(options.fake_vmm);
    confs_write();
    row = options.seed;
    kills = ~row;
    good = try_steps();
    all = accepted > 0 && refused > 0 && killed > 0 && strangers > 0;
    printf("%lu steps, seed %llu: %u setups accepted, %u refused or killed, %u stages killed, %u "
           "strangers\n",
           options.steps, options.seed, accepted, refused, killed, strangers);
    if (!all)
        printf("FAIL  expected some of each, with so few steps perhaps by chance\n");
    for (size_t i = 0; i < OWNERS_MAX; i++)
        end(&owners[i]);
    world_close();
    printf("%d passed, %d failed, 0 skipped\n", good + all, !good + !all);
    return !(good && all);
}
