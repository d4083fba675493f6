/* Read a topic of a Raven on this machine from shared memory: cc -std=c11 -O2 -o shm_reader shm_reader.c
 *
 *     ./shm_reader NAME VENUE SYMBOL DATA_TYPE [COUNT]
 *
 * prints a line per record and, when the writer was faster, how many records were lost. docs/reference/shm.md says what
 * is where. Ends after COUNT records, when the topic ends, or when Raven is gone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef _Atomic uint64_t word;

enum { HEADER_WORDS = 6, CONTROL_WORDS = 48, ENTRY_WORDS = 16, LONGEST = 6 + 1 + 4 * 1000 };
enum { CAPACITY = 1, INTENT = 8, TAIL = 16, LATEST = 17, MARKS = 24 };

static uint64_t load(const word *at) { return atomic_load_explicit(at, memory_order_relaxed); }
static void fence(void) { atomic_thread_fence(memory_order_acquire); }

struct topic {
    const word *entry, *ring;
    uint64_t generation, capacity, position, next, lost;
};

static uint64_t record_word(const struct topic *topic, uint64_t position) {
    return load(&topic->ring[CONTROL_WORDS + (position & (topic->capacity - 1))]);
}

/* Whether nothing from this position on was overwritten before the loads that precede this call. */
static int is_intact(const struct topic *topic, uint64_t position) {
    fence();
    return load(&topic->ring[INTENT]) <= position + topic->capacity;
}

/* Whether the memory still is this topic's. */
static int is_same(const struct topic *topic) {
    fence();
    return load(&topic->entry[0]) == topic->generation;
}

/* Go on at the oldest mark that leaves time to catch up; return how many records were lost. */
static uint64_t resume(struct topic *topic) {
    while (is_same(topic)) {
        uint64_t tail = load(&topic->ring[TAIL]);
        fence();
        uint64_t intent = load(&topic->ring[INTENT]), kept = topic->capacity - topic->capacity / 4;
        uint64_t oldest = intent > kept ? intent - kept : 0, position = UINT64_MAX;
        for (int mark = 0; mark < 16; mark++) {
            uint64_t at = load(&topic->ring[MARKS + mark]);
            if (at >= oldest && at < tail && at < position) position = at;
        }
        if (position == UINT64_MAX) position = load(&topic->ring[LATEST]);
        uint64_t sequence = record_word(topic, position + 1);
        if (!is_intact(topic, position)) continue;
        uint64_t lost = sequence - topic->next;
        topic->position = position;
        topic->next = sequence;
        return lost;
    }
    return 0;
}

/* 1: a record is in `out`; 0: nothing new; -1: overtaken, `lost` says by how much; -2: the topic is gone. */
static int read_record(struct topic *topic, uint64_t *out) {
    uint64_t tail = load(&topic->ring[TAIL]);
    fence();
    if (topic->position >= tail) return is_same(topic) ? 0 : -2;
    uint64_t words = record_word(topic, topic->position) & 0xffffffff;
    if (words >= HEADER_WORDS && words <= LONGEST && words <= tail - topic->position) {
        for (uint64_t at = 0; at < words; at++) out[at] = record_word(topic, topic->position + at);
        if (is_intact(topic, topic->position)) {
            if (!is_same(topic)) return -2;
            topic->position += words;
            topic->next++;
            return 1;
        }
    }
    topic->lost += resume(topic);
    return is_same(topic) ? -1 : -2;
}

static int find(const word *file, const char *venue, const char *symbol, int32_t data_type, struct topic *topic) {
    uint64_t used = load(&file[11]);
    for (uint64_t index = 0; index < used; index++) {
        const word *entry = file + load(&file[9]) / 8 + index * ENTRY_WORDS;
        uint64_t words[ENTRY_WORDS + 1] = {0};
        for (int at = 0; at < ENTRY_WORDS; at++) {
            words[at] = load(&entry[at]);
            if (at == 0) fence();
        }
        fence();
        if (words[0] % 2 || load(&entry[0]) != words[0]) continue; /* being changed: it is not yet, or no more */
        char venue_here[33] = {0}, symbol_here[49] = {0};
        memcpy(venue_here, &words[5], 32);
        memcpy(symbol_here, &words[9], 48);
        if ((uint32_t)words[1] != 1 || (int32_t)(words[1] >> 32) != data_type) continue;
        if (strcmp(venue_here, venue) || strcmp(symbol_here, symbol)) continue;
        *topic = (struct topic){.entry = entry, .ring = file + words[3] / 8, .generation = words[0], .next = 1};
        topic->capacity = load(&topic->ring[CAPACITY]);
        if (load(&topic->ring[TAIL])) resume(topic); /* begin with the oldest that is safe to read */
        return is_same(topic);
    }
    return 0;
}

int main(int count, char **arguments) {
    if (count < 5) {
        fprintf(stderr, "usage: %s NAME VENUE SYMBOL DATA_TYPE [COUNT]\n", arguments[0]);
        return 2;
    }
    char path[256];
    snprintf(path, sizeof path, "/dev/shm/%s", arguments[1]);
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat about;
    if (file < 0 || fstat(file, &about) || about.st_size < 4096) {
        fprintf(stderr, "%s cannot be opened: does Raven run with [shm] enabled?\n", path);
        return 1;
    }
    const word *words = mmap(NULL, about.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (words == MAP_FAILED || memcmp((const void *)words, "RAVENSHM", 8) || load(&words[1]) != 1 ||
        load(&words[2]) != 0x0102030405060708) {
        fprintf(stderr, "%s is no shared memory of layout 1\n", path);
        return 1;
    }
    struct topic topic;
    if (!find(words, arguments[2], arguments[3], atoi(arguments[4]), &topic)) {
        fprintf(stderr, "there is no such topic\n");
        return 1;
    }
    long wanted = count > 5 ? atol(arguments[5]) : -1;
    uint64_t record[LONGEST];
    while (wanted != 0) {
        uint64_t before = topic.lost;
        int is_over = (uint32_t)load(&topic.entry[1]) != 1 || load(&words[4]) == 2;
        int found = read_record(&topic, record);
        if (found == 1) {
            printf("%" PRIu64 " kind=%" PRIu64 " id=%" PRIu64, record[1], record[0] >> 32 & 0xff, record[4]);
            for (uint64_t at = HEADER_WORDS; at < (record[0] & 0xffffffff) && at < HEADER_WORDS + 5; at++)
                printf(" %" PRId64, (int64_t)record[at]);
            printf("\n");
            wanted--;
        } else if (found == -1) {
            printf("lost %" PRIu64 "\n", topic.lost - before);
        } else if (found == -2 || is_over) {
            break;
        } else {
            fflush(stdout);
            if (flock(file, LOCK_SH | LOCK_NB) == 0) break; /* nobody holds it: the writer died */
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
    }
    return 0;
}
