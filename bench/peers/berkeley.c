/* The lock region of Berkeley DB as a peer of the benchmark's workload 13: shared memory and
 * intention modes, and no system call in an uncontended pair. bench/README.md says how to build it.
 *
 * It plays three of the parts of the binary `process`, whose head explains them: `pairs`, `some`
 * and `hold`. A request is four intentions and a write at depth 4, taken by one lock_vec, and given
 * back by one put-all. Each request that is held has a locker of its own, and shares no node with
 * the others but the root: so that many can be held before the day is over, since each node keeps
 * its holders in one list. For the pair it is the same, since it shares no other node with them.
 */

#include <db.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 4, CLAIMS = DEPTH + 1, ROOM = 600000, READS = 1001 };

static DB_ENV *environment;

static void must(int error, const char *what) {
    if (error != 0) {
        fprintf(stderr, "berkeley: %s: %s\n", what, db_strerror(error));
        exit(1);
    }
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void open_environment(const char *place) {
    char home[4096];
    snprintf(home, sizeof home, "%s/berkeley", place);
    if (mkdir(home, 0700) != 0 && errno != EEXIST)
        must(errno, home);
    must(db_env_create(&environment, 0), "create");
    must(environment->set_lk_max_locks(environment, ROOM), "room for locks");
    must(environment->set_lk_max_lockers(environment, ROOM), "room for lockers");
    must(environment->set_lk_max_objects(environment, ROOM), "room for objects");
    /* As many chains as objects, so that a chain is never long. */
    must(environment->set_lk_tablesize(environment, ROOM), "a table");
    must(environment->open(environment, home, DB_CREATE | DB_INIT_LOCK, 0600), home);
}

/* A path, and the requests for its prefixes. */
struct request {
    char path[64];
    DBT objects[CLAIMS];
    DB_LOCKREQ claims[CLAIMS];
};

static void prepare(struct request *request, const char *top, uintmax_t number) {
    memset(request, 0, sizeof *request);
    int length = snprintf(request->path, sizeof request->path, "/%s%" PRIuMAX "/dir01/dir02/leaf", top,
                          number);
    int depth = 0;
    for (int end = 0; end <= length; end++) {
        if (end != 0 && end != length && request->path[end] != '/')
            continue;
        DBT *object = &request->objects[depth];
        object->data = request->path;
        object->size = (u_int32_t)end;
        request->claims[depth].op = DB_LOCK_GET;
        request->claims[depth].mode = depth == DEPTH ? DB_LOCK_WRITE : DB_LOCK_IWRITE;
        request->claims[depth].obj = object;
        depth++;
    }
    /* The root has a name too. */
    request->objects[0].size = 1;
}

static u_int32_t new_locker(void) {
    u_int32_t locker;
    must(environment->lock_id(environment, &locker), "a locker");
    return locker;
}

static void acquire(u_int32_t locker, struct request *request) {
    DB_LOCKREQ *failed;
    must(environment->lock_vec(environment, locker, 0, request->claims, CLAIMS, &failed),
         "lock_vec");
}

static void release(u_int32_t locker) {
    DB_LOCKREQ all, *failed;
    memset(&all, 0, sizeof all);
    all.op = DB_LOCK_PUT_ALL;
    must(environment->lock_vec(environment, locker, 0, &all, 1, &failed), "put all");
}

static void pair(u_int32_t locker, struct request *request) {
    acquire(locker, request);
    release(locker);
}

static int by_size(const void *one, const void *other) {
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

/* Returns what reading the clock takes: the median. */
static uint64_t clock_cost(void) {
    static uint64_t costs[READS];
    uint64_t last = now();
    for (int read = 0; read < READS; read++) {
        uint64_t time = now();
        costs[read] = time - last;
        last = time;
    }
    qsort(costs, READS, sizeof *costs, by_size);
    return costs[READS / 2];
}

static void pairs(uintmax_t number) {
    struct request request;
    prepare(&request, "dir", number);
    u_int32_t locker = new_locker();
    pair(locker, &request);
    puts("ready");
    fflush(stdout);
    uint32_t *times = NULL;
    size_t room = 0;
    char line[32];
    while (fgets(line, sizeof line, stdin) != NULL) {
        uint64_t slice = strtoull(line, NULL, 10) * 1000000;
        uint64_t cost = clock_cost();
        size_t count = 0;
        uint64_t start = now(), last = start;
        while (last - start < slice) {
            if (count == room) {
                room = room == 0 ? 65536 : 2 * room;
                times = realloc(times, room * sizeof *times);
                if (times == NULL)
                    must(ENOMEM, "times");
            }
            pair(locker, &request);
            uint64_t time = now(), taken = time - last;
            times[count++] = (uint32_t)(taken > cost ? taken - cost : 0);
            last = time;
        }
        uint32_t length = (uint32_t)count;
        fwrite(&length, sizeof length, 1, stdout);
        fwrite(times, sizeof *times, count, stdout);
        fflush(stdout);
    }
}

static void some(uintmax_t count) {
    struct request request;
    prepare(&request, "dir", 0);
    u_int32_t locker = new_locker();
    while (count-- > 0)
        pair(locker, &request);
}

static void hold(uintmax_t from, uintmax_t to, uintmax_t seconds) {
    struct request request;
    uint64_t start = now();
    uintmax_t number = from;
    for (; number < to && now() - start < seconds * 1000000000; number++) {
        prepare(&request, "held", number);
        acquire(new_locker(), &request);
    }
    printf("%" PRIuMAX "\n", number - from);
    fflush(stdout);
    while (getchar() != EOF) {
    }
}

int main(int count, char **words) {
    uintmax_t numbers[3] = {0, 0, 0};
    if (count < 5 || count > 7) {
        fprintf(stderr, "usage: berkeley PART NAME DIRECTORY NUMBER...\n");
        return 2;
    }
    for (int word = 4; word < count; word++)
        numbers[word - 4] = strtoumax(words[word], NULL, 10);
    open_environment(words[3]);
    if (strcmp(words[1], "pairs") == 0)
        pairs(numbers[0]);
    else if (strcmp(words[1], "some") == 0)
        some(numbers[0]);
    else if (strcmp(words[1], "hold") == 0)
        hold(numbers[0], numbers[1], numbers[2]);
    else
        return 2;
    return 0;
}
