/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_SIGNALS_H
#define HOOK_TOOL_SIGNALS_H

/* Signals as people name them. */

#define SIGNALS_NAME_SIZE 16

/* "KILL", "SIGKILL", "sigkill", "9", "RTMIN+3". 0; -EINVAL: there is none of this name or number. */
int signals_parse(const char *text, int *ret);

/* "KILL", "RTMIN+3"; of one without a name its number. Returns @buf. */
const char *signals_name(int signo, char buf[static SIGNALS_NAME_SIZE]);

#endif
