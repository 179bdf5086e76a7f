/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/screen.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

/* The alternate screen, without a cursor; and back. */
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            return -errno;
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Letters as they come, and not shown; those that make signals still do. */
static int take_terminal(struct screen *s)
{
    struct termios raw = s->kept;

    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(s->in, TCSADRAIN, &raw) < 0)
        return -errno;
    return write_all(s->out, ENTER, strlen(ENTER));
}

static void give_terminal(struct screen *s)
{
    (void)write_all(s->out, LEAVE, strlen(LEAVE));
    (void)tcsetattr(s->in, TCSADRAIN, &s->kept);
}

int screen_enter(struct screen *s, int in, int out)
{
    static const int ours[] = {SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    sigset_t set;
    int r;

    *s = (struct screen){.in = in, .out = out, .signals = FD_NONE};
    if (tcgetattr(in, &s->kept) < 0)
        return -errno;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        sigaddset(&set, ours[i]);
    sigprocmask(SIG_BLOCK, &set, &s->mask);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    r = s->signals < 0 ? -errno : take_terminal(s);
    if (r < 0)
        screen_leave(s);
    return r;
}

void screen_leave(struct screen *s)
{
    give_terminal(s);
    fd_close(&s->signals);
    sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

void screen_size(const struct screen *s, size_t *ret_width, size_t *ret_height)
{
    struct winsize size;
    bool known = ioctl(s->out, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;

    *ret_width = known ? size.ws_col : 80;
    *ret_height = known ? size.ws_row : 24;
}

int screen_show(struct screen *s, const struct sbuf *lines)
{
    autosbuf out = SBUF_INIT;
    const char *line = sbuf_text(lines), *end;

    sbuf_addf(&out, "\033[H");
    for (; (end = strchr(line, '\n')); line = end + 1)
        sbuf_addf(&out, "%.*s\033[K%s", (int)(end - line), line, end[1] ? "\r\n" : "");
    sbuf_addf(&out, "\033[J");
    return write_all(s->out, sbuf_text(&out), out.len);
}

int screen_parse(const char *bytes, size_t len, size_t *ret_used)
{
    static const struct {
        char last;
        int key;
    } arrows[] = {{'A', SCREEN_UP}, {'B', SCREEN_DOWN}, {'C', SCREEN_RIGHT}, {'D', SCREEN_LEFT}};
    size_t i = 2;

    *ret_used = len > 0;
    if (len == 0)
        return SCREEN_NONE;
    if (bytes[0] == '\r' || bytes[0] == '\n')
        return SCREEN_ENTER;
    if (bytes[0] == 127 || bytes[0] == 8)
        return SCREEN_LEFT;
    if (bytes[0] != '\033')
        return bytes[0] >= ' ' ? bytes[0] : SCREEN_OTHER;
    if (len == 1 || (bytes[1] != '[' && bytes[1] != 'O'))
        return SCREEN_LEFT; /* the key itself */
    while (i < len && (unsigned char)bytes[i] < 0x40)
        i++;
    *ret_used = i < len ? i + 1 : 0;
    for (size_t k = 0; k < ARRAY_SIZE(arrows) && i < len; k++) {
        if (bytes[i] == arrows[k].last)
            return arrows[k].key;
    }
    return i < len ? SCREEN_OTHER : SCREEN_NONE;
}

/* What a signal means. A pause is over when we are told to go on. */
static int take_signal(struct screen *s)
{
    struct signalfd_siginfo info;

    if (read(s->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return SCREEN_OTHER;
    if (info.ssi_signo == SIGWINCH)
        return SCREEN_RESIZED;
    if (info.ssi_signo != SIGTSTP)
        return SCREEN_QUIT;
    give_terminal(s);
    raise(SIGSTOP);
    return take_terminal(s) < 0 ? SCREEN_QUIT : SCREEN_RESIZED;
}

static int take_key(struct screen *s)
{
    size_t used;
    int key = screen_parse(s->bytes, s->len, &used);

    /* What has no end in so many bytes is no key. */
    if (used == 0 && s->len == sizeof s->bytes)
        used = s->len;
    s->len -= used;
    memmove(s->bytes, s->bytes + used, s->len);
    return key;
}

int screen_key(struct screen *s, unsigned long long until_us)
{
    int key = take_key(s);

    while (key == SCREEN_NONE) {
        struct pollfd fds[] = {{.fd = s->in, .events = POLLIN},
                               {.fd = s->signals, .events = POLLIN}};
        unsigned long long now = io_now_us();
        int n = now >= until_us ? 0 : poll(fds, 2, (int)((until_us - now + 999) / 1000));
        ssize_t got;

        if (n == 0)
            return SCREEN_NONE;
        if (n < 0 && errno != EINTR)
            return SCREEN_QUIT;
        if (n > 0 && fds[1].revents)
            return take_signal(s);
        if (n < 0 || !fds[0].revents)
            continue;
        got = read(s->in, s->bytes + s->len, sizeof s->bytes - s->len);
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
            return SCREEN_QUIT;
        s->len += got > 0 ? (size_t)got : 0;
        key = take_key(s);
    }
    return key;
}
