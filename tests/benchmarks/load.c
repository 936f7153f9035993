/* The load of `make bench`: requests on many connections, from one thread that never sleeps.

     load PORT FILE [--connections 64] (--seconds S | --requests N) [--rate R] [--close] [--timeout 10]

   FILE holds prepared requests: for each its length in decimal, a line feed, and its bytes. Every connection
   walks through all of them, beginning at an offset of its own. Without --rate a connection sends its next
   request when it has its response; with it, requests are due at even distances whatever the server does
   (an open loop), each is sent on the connection that has been idle for longest, and its latency counts from
   when it was due. --close takes a new connection for each request.

   It polls all the time instead of waiting in the kernel. A client that sleeps has to be woken by the server,
   in the server's own time, and a server that is slower wakes it more often.

   The result is one line of JSON on standard output. load.py is the same program in Python. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define HEAD_LIMIT 65536
#define EVENTS 64
#define SECOND 1000000000LL
#define SWEEP (SECOND / 10) /* between two searches for connections that have timed out */

typedef struct {
    const char *bytes;
    size_t size;
} Request;

typedef enum { CLOSED, CONNECTING, ACTIVE, IDLE, ENDING } State; /* ENDING: the server is to close */

typedef enum { HEAD, LENGTH, CHUNK_LINE, CHUNK_BYTES, CHUNK_END, TRAILER, UNTIL_CLOSE } Part;

typedef enum { MORE, COMPLETE, MALFORMED } Verdict;

typedef struct {
    int fd;
    State state;
    size_t next; /* which request comes next */
    const Request *request;
    size_t sent;
    int64_t due; /* the latency counts from here */
    int64_t since; /* of the last request or byte, for the timeout */

    Part part; /* what of the response comes next */
    char *head; /* as much as has arrived, when it comes in pieces */
    size_t filled;
    int status;
    bool keep;
    uint64_t left; /* bytes of the body or of the chunk */
    size_t line; /* bytes in this line of the chunked framing */
    bool size_read; /* the size of the chunk has ended: an extension follows */
} Connection;

static struct sockaddr_in server;
static int epoll;
static Request *requests;
static size_t request_count;
static Connection *connections;
static size_t connection_count = 64;
static bool always_close;
static int64_t timeout = 10 * SECOND;
static int64_t count_limit; /* 0: until `deadline` */
static int64_t deadline;
static double rate; /* 0: a closed loop */
static int64_t begun_at;

static Connection **idle; /* a ring of connections, the one that is idle for longest first */
static size_t idle_first, idle_count;

static int64_t started, active, answered, not_2xx, body_bytes, opened, last_answer;
static int64_t failed_connect, failed_broken, failed_short, failed_malformed, failed_timeout;
static int64_t statuses[1000];
static uint32_t *latencies; /* in tenths of a microsecond */
static size_t latency_room;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void *allocate(void *old, size_t size)
{
    void *memory = realloc(old, size);
    if (!memory) {
        perror("load");
        exit(2);
    }
    return memory;
}

/* ── the response ── */

static bool has_token(const char *value, size_t size, const char *token)
{
    size_t length = strlen(token);
    for (size_t i = 0; i + length <= size; i++)
        if (!strncasecmp(value + i, token, length))
            return true;
    return false;
}

/* The head is complete: which body follows, and whether the connection is kept after it (RFC 9112, 6.3). */
static Verdict read_head(Connection *c, const char *head, size_t size)
{
    if (size < 13 || memcmp(head, "HTTP/1.", 7) || !isdigit((unsigned char)head[9])
        || !isdigit((unsigned char)head[10]) || !isdigit((unsigned char)head[11]))
        return MALFORMED;
    c->status = atoi(head + 9);
    c->keep = head[7] == '1';
    bool chunked = false, has_length = false;
    const char *end = head + size;
    for (const char *line = memchr(head, '\n', size) + 1; end - line > 2;) {
        const char *stop = memchr(line, '\n', end - line);
        const char *colon = memchr(line, ':', stop - line);
        if (!colon)
            return MALFORMED;
        const char *value = colon + 1;
        size_t name = colon - line, length = stop - value;
        if (name == 14 && !strncasecmp(line, "content-length", name)) {
            char *rest;
            c->left = strtoull(value, &rest, 10);
            has_length = true;
            if (rest == value || *rest != '\r')
                return MALFORMED;
        } else if (name == 17 && !strncasecmp(line, "transfer-encoding", name)) {
            chunked = has_token(value, length, "chunked");
        } else if (name == 10 && !strncasecmp(line, "connection", name)) {
            if (has_token(value, length, "close"))
                c->keep = false;
            else if (has_token(value, length, "keep-alive"))
                c->keep = true;
        }
        line = stop + 1;
    }
    c->filled = 0;
    if (c->status < 200) /* interim: the response proper is still to come */
        return MORE;
    bool empty = c->status == 204 || c->status == 304 || !memcmp(c->request->bytes, "HEAD ", 5);
    if (empty || (has_length && !chunked && !c->left))
        return COMPLETE;
    if (chunked) {
        c->part = CHUNK_LINE;
        c->left = c->line = 0;
        c->size_read = false;
    } else if (has_length) {
        c->part = LENGTH;
    } else {
        c->part = UNTIL_CLOSE;
        c->keep = false;
    }
    return MORE;
}

/* How many bytes belong to the head, which may be complete now. */
static size_t feed_head(Connection *c, const char *bytes, size_t size, Verdict *verdict)
{
    if (!c->filled) {
        const char *end = memmem(bytes, size, "\r\n\r\n", 4);
        if (end) {
            size_t used = end + 4 - bytes;
            *verdict = read_head(c, bytes, used);
            return used;
        }
    }
    size_t searched = c->filled > 3 ? c->filled - 3 : 0, before = c->filled;
    if (c->filled + size > HEAD_LIMIT) {
        *verdict = MALFORMED;
        return size;
    }
    c->head = allocate(c->head, HEAD_LIMIT);
    memcpy(c->head + c->filled, bytes, size);
    c->filled += size;
    const char *end = memmem(c->head + searched, c->filled - searched, "\r\n\r\n", 4);
    if (!end)
        return size;
    size_t used = end + 4 - c->head;
    *verdict = read_head(c, c->head, used);
    return used - before;
}

/* One byte of the chunked framing (RFC 9112, 7.1). */
static Verdict feed_framing(Connection *c, char byte)
{
    if (byte != '\n') {
        if (c->part == CHUNK_LINE && isxdigit((unsigned char)byte) && !c->size_read) {
            int digit = isdigit((unsigned char)byte) ? byte - '0' : tolower(byte) - 'a' + 10;
            c->left = c->left * 16 + digit;
            c->line++;
        } else if (c->part == CHUNK_LINE) {
            if (!c->line || !(byte == '\r' || byte == ';' || byte == ' ' || c->size_read))
                return MALFORMED;
            c->size_read = true;
        } else if (byte != '\r') {
            if (c->part == CHUNK_END)
                return MALFORMED;
            c->line++;
        }
        return MORE;
    }
    size_t line = c->line;
    c->line = 0;
    if (c->part == CHUNK_LINE) {
        if (!line)
            return MALFORMED;
        c->part = c->left ? CHUNK_BYTES : TRAILER;
    } else if (c->part == CHUNK_END) {
        c->part = CHUNK_LINE;
        c->left = 0;
        c->size_read = false;
    } else if (!line) {
        return COMPLETE;
    }
    return MORE;
}

static Verdict feed(Connection *c, const char *bytes, size_t size)
{
    Verdict verdict = MORE;
    while (size && verdict == MORE) {
        size_t used = 1;
        switch (c->part) {
        case HEAD:
            used = feed_head(c, bytes, size, &verdict);
            break;
        case LENGTH:
        case CHUNK_BYTES:
            used = size < c->left ? size : c->left;
            c->left -= used;
            body_bytes += used;
            if (!c->left && c->part == LENGTH)
                verdict = COMPLETE;
            else if (!c->left)
                c->part = CHUNK_END;
            break;
        case UNTIL_CLOSE:
            used = size;
            body_bytes += used;
            break;
        default:
            verdict = feed_framing(c, *bytes);
        }
        bytes += used;
        size -= used;
    }
    return size ? MALFORMED : verdict; /* nothing may follow a response: the next request is not sent yet */
}

/* ── the connection ── */

static void push_idle(Connection *c)
{
    idle[(idle_first + idle_count++) % connection_count] = c;
}

static void close_connection(Connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
}

/* The request has failed; the connection is of no use any more. */
static void fail(Connection *c, int64_t *kind)
{
    ++*kind;
    active--;
    close_connection(c);
    push_idle(c);
}

static void record(Connection *c)
{
    int64_t took = (c->since - c->due) / 100;
    if ((size_t)answered == latency_room) {
        latency_room = latency_room ? 2 * latency_room : 65536;
        latencies = allocate(latencies, latency_room * sizeof *latencies);
    }
    latencies[answered++] = took < UINT32_MAX ? took : UINT32_MAX;
    statuses[c->status]++;
    if (c->status / 100 != 2)
        not_2xx++;
    last_answer = c->since;
}

static void complete(Connection *c)
{
    record(c);
    active--;
    if (!c->keep) {
        c->state = ENDING; /* the end that closes first keeps the port occupied for a minute */
    } else {
        if (always_close || c->sent < c->request->size)
            close_connection(c);
        else
            c->state = IDLE;
        push_idle(c);
    }
}

static void send_rest(Connection *c)
{
    while (c->sent < c->request->size) {
        ssize_t n = send(c->fd, c->request->bytes + c->sent, c->request->size - c->sent, MSG_NOSIGNAL);
        if (n >= 0)
            c->sent += n;
        else if (errno == EAGAIN)
            return;
        else if (errno == EPIPE || errno == ECONNRESET)
            return; /* there may be a response, and its end is reported either way */
        else
            return fail(c, &failed_broken);
    }
}

static void open_connection(Connection *c)
{
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        perror("load: socket");
        exit(2);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    opened++;
    int result = connect(c->fd, (struct sockaddr *)&server, sizeof server);
    if (result < 0 && errno != EINPROGRESS)
        return fail(c, &failed_connect);
    c->state = result < 0 ? CONNECTING : ACTIVE;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0) {
        perror("load: epoll_ctl");
        exit(2);
    }
    if (c->state == ACTIVE)
        send_rest(c);
}

static void begin(Connection *c, int64_t due, int64_t at)
{
    c->request = &requests[c->next];
    c->next = (c->next + 1) % request_count;
    c->sent = c->filled = 0;
    c->part = HEAD;
    c->due = due;
    c->since = at;
    started++;
    active++;
    if (c->fd < 0)
        return open_connection(c);
    c->state = ACTIVE;
    send_rest(c);
}

static void on_end(Connection *c, bool broken)
{
    if (c->state == ACTIVE && c->part == UNTIL_CLOSE && !broken) {
        record(c);
        active--;
        close_connection(c);
        push_idle(c);
    } else if (c->state == ACTIVE) {
        fail(c, broken ? &failed_broken : &failed_short);
    } else if (c->state == ENDING) {
        close_connection(c);
        push_idle(c);
    } else {
        close_connection(c); /* it is idle, and stays in the ring */
    }
}

static void on_readable(Connection *c, bool ending)
{
    static char bytes[65536];
    for (;;) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            return on_end(c, n < 0);
        if (c->state == ACTIVE) {
            c->since = now();
            Verdict verdict = feed(c, bytes, n);
            if (verdict == MALFORMED)
                return fail(c, &failed_malformed);
            if (verdict == COMPLETE)
                complete(c);
            if (c->fd < 0)
                return;
        } else if (c->state == IDLE) {
            failed_malformed++; /* bytes that no request has asked for */
            return close_connection(c);
        }
        /* An end that comes later is an event of its own. */
        if (n < (ssize_t)sizeof bytes && !ending)
            return;
    }
}

static void on_event(Connection *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (c->state == CONNECTING) {
        int fault = 0;
        socklen_t size = sizeof fault;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &fault, &size);
        if (fault)
            return fail(c, &failed_connect);
        if (!(events & EPOLLOUT))
            return;
        c->state = ACTIVE;
    }
    if (events & EPOLLOUT && c->state == ACTIVE)
        send_rest(c);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR) && c->fd >= 0)
        on_readable(c, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
}

/* ── the run ── */

static bool over(int64_t at)
{
    return count_limit ? started >= count_limit : at >= deadline;
}

/* Give work to the connections that have none. */
static void dispatch(void)
{
    while (idle_count) {
        int64_t at = now(), due = at;
        if (over(at))
            return;
        if (rate > 0) {
            due = begun_at + (int64_t)(started * (SECOND / rate));
            if (due > at)
                return;
        }
        Connection *c = idle[idle_first];
        idle_first = (idle_first + 1) % connection_count;
        idle_count--;
        begin(c, due, at);
    }
}

static void expire(int64_t at)
{
    for (Connection *c = connections; c < connections + connection_count; c++) {
        if (at - c->since < timeout || c->fd < 0 || c->state == IDLE)
            continue;
        if (c->state == ENDING) { /* the server has announced to close, and does not */
            failed_timeout++;
            close_connection(c);
            push_idle(c);
        } else {
            fail(c, &failed_timeout);
        }
    }
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    int64_t swept = now();
    dispatch();
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, 0);
        for (int i = 0; i < n; i++) {
            on_event(events[i].data.ptr, events[i].events);
            dispatch();
        }
        if (n <= 0)
            dispatch();
        int64_t at = now();
        if (at - swept >= SWEEP) {
            expire(at);
            swept = at;
        }
        if (!active && over(at))
            return;
    }
}

static void read_requests(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    size_t size;
    while (fscanf(file, "%zu", &size) == 1 && fgetc(file) == '\n') {
        char *bytes = allocate(NULL, size);
        if (fread(bytes, 1, size, file) != size) {
            fprintf(stderr, "%s: the last request is cut short\n", path);
            exit(2);
        }
        requests = allocate(requests, (request_count + 1) * sizeof *requests);
        requests[request_count++] = (Request){bytes, size};
    }
    fclose(file);
    if (!request_count) {
        fprintf(stderr, "%s: no request\n", path);
        exit(2);
    }
}

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static double percentile(double share)
{
    size_t rank = share * answered;
    return answered ? latencies[rank < (size_t)answered ? rank : (size_t)answered - 1] / 1e7 : 0;
}

static void print_result(void)
{
    int64_t end = count_limit ? last_answer : deadline;
    double seconds = end > begun_at ? (end - begun_at) / 1e9 : 0;
    int64_t unsent = rate > 0 && !count_limit ? (int64_t)(seconds * rate) - started : 0;
    const char *between = "";
    qsort(latencies, answered, sizeof *latencies, compare);
    printf("{\"requests\": %lld, \"seconds\": %.6f, \"not_2xx\": %lld, \"bytes\": %lld, \"connections\": %lld, "
           "\"unsent\": %lld, \"errors\": {\"connect\": %lld, \"broken\": %lld, \"short\": %lld, "
           "\"malformed\": %lld, \"timeout\": %lld}, \"latency\": {\"p50\": %.7f, \"p90\": %.7f, \"p99\": %.7f, "
           "\"p999\": %.7f, \"max\": %.7f}, \"statuses\": {",
           (long long)answered, seconds, (long long)not_2xx, (long long)body_bytes, (long long)opened,
           (long long)(unsent > 0 ? unsent : 0), (long long)failed_connect, (long long)failed_broken,
           (long long)failed_short, (long long)failed_malformed, (long long)failed_timeout, percentile(0.5),
           percentile(0.9), percentile(0.99), percentile(0.999), percentile(1));
    for (int status = 0; status < 1000; status++) {
        if (statuses[status]) {
            printf("%s\"%d\": %lld", between, status, (long long)statuses[status]);
            between = ", ";
        }
    }
    puts("}}");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"connections", required_argument, NULL, 'c'}, {"seconds", required_argument, NULL, 's'},
        {"requests", required_argument, NULL, 'n'},    {"rate", required_argument, NULL, 'r'},
        {"close", no_argument, NULL, 'x'},             {"timeout", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    double seconds = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'c': connection_count = strtoul(optarg, NULL, 10); break;
        case 's': seconds = atof(optarg); break;
        case 'n': count_limit = atoll(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'x': always_close = true; break;
        case 't': timeout = atof(optarg) * SECOND; break;
        default: return 2;
        }
    }
    if (argc - optind != 2 || !connection_count || (seconds > 0) == (count_limit > 0)) {
        fprintf(stderr, "usage: load PORT FILE [--connections N] (--seconds S | --requests N) [--rate R] "
                        "[--close] [--timeout S]\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[optind]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    read_requests(argv[optind + 1]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    idle = allocate(NULL, connection_count * sizeof *idle);
    connections = allocate(NULL, connection_count * sizeof *connections);
    for (size_t i = 0; i < connection_count; i++) {
        connections[i] = (Connection){.fd = -1, .next = i * request_count / connection_count};
        push_idle(&connections[i]);
    }
    begun_at = now();
    deadline = begun_at + (int64_t)(seconds * SECOND);
    run();
    print_result();
    return 0;
}
