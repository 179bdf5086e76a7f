/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/files.h"

#include "tests/fault/kit.h"
#include "tests/fault/steps.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

char files_bundle[PATH_MAX], files_output[PATH_MAX];

void files_begin(void)
{
    snprintf(files_bundle, sizeof files_bundle, "%s/registered.json", world.work);
    snprintf(files_output, sizeof files_output, "%s/output", world.work);
}

/* Nothing is left beside it, but of who was killed: neither of io_replace_at() nor of io_replace_like_at(). */
static void check_beside(struct run *run, const char *file)
{
    const char *slash = strrchr(file, '/');

    for (size_t i = 0; i < 2; i++) {
        char tmp[PATH_MAX + 32];

        snprintf(tmp, sizeof tmp, "%.*s/%s%s%s", (int)(slash - file), file, i ? "." : "", slash + 1,
                 i ? ".oci-sandbox-cgroup" : ".tmp");
        if (!is_killed(run) && access(tmp, F_OK) == 0)
            problem(run, "%s is left", tmp);
        unlink(tmp);
    }
}

/* --- register --------------------------------------------------------------------- */

static char before_file[TEXT_SIZE], done_file[TEXT_SIZE];

static void read_file(char ret[TEXT_SIZE])
{
    if (!read_text(files_bundle, ret, TEXT_SIZE))
        snprintf(ret, TEXT_SIZE, "nothing");
}

void new_file(struct run *run)
{
    (void)run;
    make_file(files_bundle, "{\"ociVersion\": \"1.0.2\", \"process\": {\"args\": [\"sleep\"]}}\n");
    read_file(before_file);
}

void registered_file(struct run *run)
{
    new_file(run);
    works(run, "register", files_bundle, NULL, NULL);
    read_file(before_file);
}

/* The file is the old one or the new one, and nothing is left beside it. */
void check_file(struct run *run)
{
    char now[TEXT_SIZE];

    read_file(now);
    if (run->first)
        memcpy(done_file, now, sizeof now);
    if (strcmp(now, done_file) != 0 && (is_done(run) || strcmp(now, before_file) != 0))
        problem(run, "the file is neither the old nor the new one: %s", now);
    if (!is_done(run))
        works(run, "register", files_bundle, NULL, NULL);
    check_beside(run, files_bundle);
}

bool is_file_there(enum layout layout)
{
    return layout == NESTED; /* there is no difference */
}

/* --- what is read, in a file -------------------------------------------------------- */

enum { OUTPUT_SIZE = 1 << 18, SAME_CHARS = 12 };
#define OLD "old\n"

static char done_output[OUTPUT_SIZE];

bool is_page_there(enum layout layout)
{
    return layout == SIBLING;
}

void before_output(struct run *run)
{
    one_is_up_unwatched(run);
    make_file(files_output, OLD);
}

/* Behind it there is a line end and nothing more; "" of one that does not end with one. */
static const char *last_line(const char *text)
{
    const char *last = text + strlen(text);

    if (last == text || *--last != '\n')
        return "";
    while (last > text && last[-1] != '\n')
        last--;
    return last;
}

/* The numbers in it are others each time. */
static bool is_whole(const char *text)
{
    return strncmp(text, done_output, SAME_CHARS) == 0 &&
           strncmp(last_line(text), last_line(done_output), SAME_CHARS) == 0;
}

static void is_written(struct run *run, bool or_old)
{
    static char now[OUTPUT_SIZE];

    if (!read_text(files_output, now, sizeof now))
        problem(run, "there is no file any more");
    if (run->first)
        memcpy(done_output, now, sizeof now);
    if (run->first && (strcmp(now, OLD) == 0 || !last_line(now)[0]))
        problem(run, "without a fault it writes: %.200s", now);
    if (!is_whole(now) && (!or_old || strcmp(now, OLD) != 0))
        problem(run, "the file is neither the old nor a new one: %.200s", now);
}

static void check_output(struct run *run, const char *const words[])
{
    is_written(run, !is_done(run));
    check_beside(run, files_output);
    if (!is_done(run)) {
        run_words(run, words);
        is_written(run, false);
    }
    if (run->variant == 0) {
        works(run, "poststart", NULL, &one, "running");
        one_as_before(run);
    }
    end_one(run);
}

void check_metrics(struct run *run)
{
    check_output(run, (const char *[]){"metrics", "--output", files_output, NULL});
}

void check_page(struct run *run)
{
    check_output(run, (const char *[]){"overhead", "--for", "20ms", "--html", files_output, NULL});
}
