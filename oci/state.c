/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/state.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <assert.h>

#define WHERE "standard input"
/* A mistake of people, who have no state at hand. */
#define NO_STATE "; of a config.json alone: oci-sandbox-cgroup plan CONFIG.json"

/* PID_MAX_LIMIT of a 64-bit kernel; 0 is what runtimes send when there is no process. */
#define STATE_PID_MAX 4194304

#define STATE_FIELDS                                                                               \
    JSON_F_STRING("ociVersion", struct oci_state, oci_version),                                    \
        JSON_F_STRING("id", struct oci_state, id),                                                 \
        JSON_F_STRING("status", struct oci_state, status),                                         \
        JSON_F_I64("pid", struct oci_state, pid, 0, STATE_PID_MAX),                                \
        JSON_F_STRING("bundle", struct oci_state, bundle),                                         \
        JSON_F_OBJECT("annotations", struct oci_state, annotations, &oci_annotations_table)

static const struct json_field state_fields[] = {STATE_FIELDS};

const struct json_table oci_state_table = JSON_TABLE(state_fields, struct oci_state);

/* The first document: the state itself, or an object that holds the state and the config. */
struct first {
    struct oci_state own;
    struct oci_state *state;
    struct oci_config *config;
};

static_assert(offsetof(struct first, own) == 0, "STATE_FIELDS serve both structs");

static const struct json_field first_fields[] = {
    STATE_FIELDS,
    {.key = "state",
     .kind = JSON_OBJECT,
     .offset = offsetof(struct first, state),
     .sub = &oci_state_table,
     .document = true},
    {.key = "config",
     .kind = JSON_OBJECT,
     .offset = offsetof(struct first, config),
     .sub = &oci_config_table,
     .document = true},
};
static const struct json_table first_table = JSON_TABLE(first_fields, struct first);

static int read_documents(int fd, struct sbuf *copy, struct arena *a, struct oci_input *ret,
                          struct err *e)
{
    struct oci_input input = {0};
    struct first first = {0};
    const struct json_doc docs[] = {
        {.table = &first_table, .dest = &first, .name = "state"},
        {.table = &oci_config_table, .dest = &input.config, .name = "config"},
    };
    int n = json_read_fd_copy(fd, docs, ARRAY_SIZE(docs), OCI_MAX_BYTES, 0, WHERE, copy, a, e);

    if (n < 0)
        return n;
    if (n == 0)
        return err_input(e, WHERE ": empty, expected the OCI state document");
    if (first.config && !first.state)
        return err_input(e, WHERE ": the member \"config\" without \"state\", expected both");
    if (first.state && first.own.id)
        return err_input(e, WHERE ": the members \"state\" and \"id\" in one object, expected one");
    if (first.state && n > 1)
        return err_input(e, WHERE ": a document follows the one that holds the state, "
                                  "expected one document only");
    input.state = first.state ? *first.state : first.own;
    input.has_config = first.config || n > 1;
    if (first.config)
        input.config = *first.config;
    if (str_empty(input.state.id))
        return err_input(e, WHERE ": state.id: %s, expected the container's id%s",
                         input.state.id ? "empty" : "missing",
                         input.has_config || input.state.id ? "" : NO_STATE);
    *ret = input;
    return 0;
}

int oci_input_read(int fd, struct sbuf *copy, struct arena *a, struct oci_input *ret, struct err *e)
{
    int r = read_documents(fd, copy, a, ret, e);

    /* A runtime that still writes must not die of SIGPIPE because its document was refused. */
    if (r < 0)
        io_drain(fd);
    return r;
}
