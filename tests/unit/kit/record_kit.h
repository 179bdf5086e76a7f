/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_RECORD_KIT_H
#define TESTS_UNIT_KIT_RECORD_KIT_H

/* A state directory of the test's own. */

#include "hook/sandbox/record.h"
#include "hook/sandbox/state_dir.h"
#include "tests/unit/kit/process_kit.h"

struct kit_state {
    char top[64], path[96];
    struct state_dir state;
};

void kit_begin_state(struct kit_state *f);
void kit_end_state(struct kit_state *f);

#define FIXTURE __attribute__((cleanup(kit_end_state))) struct kit_state

struct state_lock kit_lock(const struct kit_state *f, const char *id, bool make);

#endif
