/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_UNITS_H
#define HOOK_TOOL_UNITS_H

/* Numbers as people write and read them. */

#include <stddef.h>
#include <stdint.h>

#define UNITS_SIZE 24

/* "512 B", "1.5 MiB"; "-" for CG_UNKNOWN. Returns @buf. */
const char *units_bytes(uint64_t bytes, char buf[static UNITS_SIZE]);

/* "0.123 s", "12.3 s", "1234 s"; "-" for CG_UNKNOWN. */
const char *units_seconds(uint64_t us, char buf[static UNITS_SIZE]);

/* A plain number; "-" for CG_UNKNOWN. */
const char *units_count(uint64_t n, char buf[static UNITS_SIZE]);

/* Of two counts, in hundredths of a per cent; CG_UNKNOWN where one of them is, or @whole is 0. And it as "12.3 %",
 * or "-". */
uint64_t units_share(uint64_t part, uint64_t whole);
const char *units_percent(uint64_t hundredths, char buf[static UNITS_SIZE]);

/* "500ms", "60s", "5m", "1.5" (seconds): at least 1 ms and at most a day. 0; -EINVAL; -ERANGE. */
int units_parse_time(const char *text, uint64_t *ret_ms);

/* "536870912", "512Mi", "2GiB": Ki, Mi, Gi or Ti, in powers of 1024. 0; -EINVAL; -ERANGE: a PiB or more. */
int units_parse_bytes(const char *text, uint64_t *ret);

#endif
