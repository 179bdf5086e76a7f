/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_STATE_H
#define OCI_STATE_H

/*
 * oci/ reads the JSON documents of runtimes. This is what a hook gets on stdin (runtime-spec
 * runtime.md "State"): the state document, which may be followed by the config document, or one
 * object with the members `state` and `config`.
 */

#include "oci/annotations.h"
#include "oci/config.h"

/* Runtimes send a few hundred bytes of state; a config with 10,000 device rules has about 1 MiB. */
#define OCI_MAX_BYTES ((size_t)16 << 20)

struct oci_state {
    char *oci_version;
    char *id;
    char *status; /* NULL or "" where the caller does not say */
    struct json_i64 pid;
    char *bundle;
    struct oci_annotations *annotations;
};

struct oci_input {
    struct oci_state state;
    bool has_config; /* the stream held the config document too */
    struct oci_config config;
};

extern const struct json_table oci_state_table;

/*
 * Read the hook's stdin to its end, whatever it holds.
 * 0; -EINVAL: no document, one document too many, no or an empty `id`, `config` without `state`, an
 * `id` beside `state`, or any error of json.h; other -errno from read(2). @ret is written on
 * success only; after an error the rest of the stream has been read and dropped. Does not judge
 * `status`, `pid` or `bundle`: which of them are needed depends on the stage. What was read is added to @copy, if
 * that is not NULL.
 */
int oci_input_read(int fd, struct sbuf *copy, struct arena *a, struct oci_input *ret,
                   struct err *e);

#endif
