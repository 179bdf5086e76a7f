/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_RECORD_KIT_H
#define TESTS_UNIT_KIT_RECORD_KIT_H

/* A state directory of the test's own. */

#include "hook/sandbox/record.h"

/* Long enough for any machine: every wait for a lock ends by an event, not by this time. */
#define KIT_PATIENCE_MS 60000

struct kit_state {
    char top[64], path[96];
    struct state_dir state;
};

void kit_begin_state(struct kit_state *f);
void kit_end_state(struct kit_state *f);

#define FIXTURE __attribute__((cleanup(kit_end_state))) struct kit_state

struct record_lock kit_lock(const struct kit_state *f, const char *id, bool make);

#endif
