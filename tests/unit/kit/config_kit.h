/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_CONFIG_KIT_H
#define TESTS_UNIT_KIT_CONFIG_KIT_H

/* Documents of config.json. */

#include "oci/config.h"

int kit_read_config(const char *text, size_t len, size_t chunk, struct oci_config *ret,
                    struct arena *a, struct err *e);

/* The text that a config document is written as. The writer is the caller's. */
const char *kit_written(struct json_writer *w, const struct oci_config *config);

/* What is read is written as @want; the message is @want. */
void kit_expect_config(const char *input, const char *want);
void kit_expect_config_refused(const char *input, const char *want);

#endif
