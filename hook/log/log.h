/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_LOG_LOG_H
#define HOOK_LOG_LOG_H

/*
 * hook/log/ is what the program says. Runtimes hide a hook's output (crun drops it, runc shows it
 * on failure only), so warnings and errors of a stage also go to the journal where there is one,
 * else to syslog. Below the threshold nothing is formatted, written or loaded.
 *
 * Text that came from outside must have been through str_escape().
 */

enum log_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };

/* What every message is about; strings are borrowed and may be NULL. */
struct log_context {
    const char *stage;
    const char *sandbox_id;
    const char *container_id;
    const char *cgroup;
    int to_journal; /* a stage or the watcher: not only stderr */
};

extern struct log_context log_about;

/* 0; -EINVAL another word than error, warning, info, debug */
int log_level_parse(const char *name, enum log_level *ret);
void log_set_level(enum log_level level);
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What happens in the life of a sandbox or container. The journal can be asked for each by its MESSAGE_ID, see
 * systemd.journal-fields(7) and the manual page. */
enum log_event { EVENT_SET_UP, EVENT_PLACED, EVENT_REMOVED, EVENT_OOM_KILL };

/* For the journal or syslog, unless errors alone are wanted: so that one can see there that the hook works. It is an
 * info, or of EVENT_OOM_KILL a warning; to stderr it goes as others of that level do. */
void log_event(enum log_event event, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct err;

/* Warn of a failure that may come back with each try: once, until it changes.
 * @last: the code of the last try. @code: of this one, 0 for success. */
void log_once(int *last, int code, const struct err *e);

/* Give one finished line to the journal with the fields of log_about, or to syslog. @message_id may be NULL. */
void journal_send(enum log_level level, const char *message_id, const char *text);

#endif
