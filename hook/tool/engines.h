/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_ENGINES_H
#define HOOK_TOOL_ENGINES_H

/* Which container engines a host has, and in which directories they look for hooks. */

#include <stdbool.h>
#include <stddef.h>

struct arena;

#define ENGINES_HOOKS_DIR "/usr/share/containers/oci/hooks.d"

enum engine_id { ENGINE_PODMAN, ENGINE_CRIO, ENGINE_CONTAINERD_DAEMON, ENGINE_DOCKER, ENGINES };

struct engine {
    const char *name;
    const char *program;     /* its path; NULL: it is not in the usual places */
    const char *const *dirs; /* of hooks; none: it reads no such directory */
    size_t dir_count;
    const char *file; /* of its configuration, that names them; NULL: they are its defaults */
};

/* Look below @root, "" for the host's own. Texts are in @a, or constant. */
void engines_find(const char *root, struct arena *a, struct engine ret[static ENGINES]);

/* Whether one that is there reads the directory; of a host that has neither podman nor CRI-O, either of them. */
bool engines_read(const struct engine engines[static ENGINES], const char *dir);

/* Where it looks for hooks, and what there is to be done if it looks nowhere: a sentence, in @a. */
const char *engine_text(const struct engine *engine, struct arena *a);

/* Whether some line of a file of configuration, below @root, that is no comment names this. */
bool engines_file_names(const char *root, const char *path, const char *word, struct arena *a);

#endif
