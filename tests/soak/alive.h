/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SOAK_ALIVE_H
#define TESTS_SOAK_ALIVE_H

/* Many sandboxes that live at once, and what they cost: no more than is printed depends on these numbers. */

#include "tests/soak/life.h"

/* Whether this machine has room for so many; else it says what is missing. */
bool alive_fits(unsigned long count);

/* Set them up, one after the other, look at their watchers, and take them away. Whether no stage failed. */
bool alive_run(struct lives *l, unsigned long count);

#endif
