/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_STAGE_KIT_H
#define TESTS_UNIT_KIT_STAGE_KIT_H

/* Stages on a tree of tree_kit.h, with a state directory of the test's own. JSON has ' for the
 * double quote. */

#include "base/arena.h"
#include "base/err.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/state_dir.h"
#include "hook/stages/stages.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/tree_kit.h"

struct kit_stage {
    char *state_dir;
    struct state_dir state;
    struct arena a;
    struct settings settings;
    struct err e;      /* of the last stage */
    const char *begin; /* the tree as kit_note_tree() found it */
};

/* Whether stages are below containerd, as they are from the beginning: then there are placeholders. */
void kit_set_engine(bool containerd);

void kit_begin_stage(struct kit_stage *f, enum cg_mode mode);
void kit_end_stage(struct kit_stage *f);

#define STAGE __attribute__((cleanup(kit_end_stage))) struct kit_stage

/* A suite's .init: as main() does. */
void kit_ignore_sigpipe(void);

/* hook settings; a VM has a minute to come up, so that a test never sees what happens otherwise, and
 * the names of its threads are believed on every host */
void kit_set_settings(struct kit_stage *f, const char *members);

/* A process that is in the runtime's cgroup @path and is called so in the tree. */
pid_t kit_start_in(const char *path, const char *name);

/* The tree as it is now is what expectations compare with. */
void kit_note_tree(struct kit_stage *f);

/* Runs a stage. @pod members of the state's annotations, or NULL; @config NULL: there is none. */
int kit_run_stage(struct kit_stage *f, enum stage stage, const char *id, pid_t pid, const char *pod,
                  const char *config);

void kit_expect_stage(struct kit_stage *f, enum stage stage, const char *id, pid_t pid,
                      const char *pod, const char *config);

/* What has changed since kit_note_tree(). */
void kit_expect_changes(struct kit_stage *f, const char *want, const char *what);

/* The record of a sandbox, in the fixture's arena. */
enum record_state kit_record(struct kit_stage *f, const char *sandbox_id, struct record *ret);

/* "cpu.shares=1024; pids.max=5" of the recorded files. */
const char *kit_recorded(struct kit_stage *f, const struct json_list *files);

/* The names of all that is in the state directory, each followed by a blank; "": nothing. */
const char *kit_state_names(struct kit_stage *f);

#endif
