/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_DEVICE_MODEL_H
#define TESTS_UNIT_KIT_DEVICE_MODEL_H

/* What the forms of a device list mean, without anything of a test's framework. */

#include "cgroup/devices/bpf.h"
#include "cgroup/devices/exceptions.h"
#include "tests/unit/kit/bpf_interp.h"

/* The verdict of a table: its most specific entry has it. */
bool dev_table_allows(const struct cg_dev_table *t, char type, uint32_t major, uint32_t minor,
                      uint8_t access);

/* The verdict of a v1 cgroup, by the rules of the kernel's device_cgroup.c, match_exception() and
 * match_exception_partial(). */
bool dev_v1_allows(const struct cg_dev_exceptions *v1, char type, uint32_t major, uint32_t minor,
                   uint8_t access);

/* One run of a program, interpreted; returns as bpf_interp_run(). */
int dev_program_run(const struct cg_bpf_program *p, char type, uint32_t major, uint32_t minor,
                    uint8_t access, struct bpf_verdict *ret);

#endif
