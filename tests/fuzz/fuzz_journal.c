/* The journal's two files: any bytes. The input writes entries with sums that fit, of this log and of
 * another, and spoils them. What is read must be whole, of this log and follow the mark without a gap;
 * nothing whole that comes later may be left unread without a fault, and there is no fault without such a
 * thing. What was read is there again behind an entry that was put after it. */
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "store/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX = 1 << 15, HEADER = 32 };
static const uint64_t KEY = 0x1122334455667788;

static struct file {
    uint8_t bytes[FILE_MAX];
    size_t size, at; /* at: where the next entry is written */
} files[JOURNAL_HALVES];

static char folder[64];

/* --- making files --- */

static size_t sectors(size_t size)
{
    return (size + JOURNAL_SECTOR - 1) / JOURNAL_SECTOR * JOURNAL_SECTOR;
}

static void put_entry(struct file *file, uint64_t key, uint64_t sequence, size_t size, uint32_t kind)
{
    uint8_t *at = file->bytes + file->at;
    if (file->at + sectors(HEADER + size) > FILE_MAX) return;
    memset(at + HEADER, (int)sequence | 1, size); /* not zero: a start fills a file that was cut short */
    uint32_t magic = htole32(0x6c6e726a), size_field = htole32((uint32_t)size);
    key = htole64(key);
    sequence = htole64(sequence);
    kind = htole32(kind);
    memcpy(at, &magic, 4);
    memcpy(at + 8, &key, 8);
    memcpy(at + 16, &sequence, 8);
    memcpy(at + 24, &size_field, 4);
    memcpy(at + 28, &kind, 4);
    uint32_t crc = htole32(hash_crc32(slice_make((char *)at + 8, HEADER - 8 + size)));
    memcpy(at + 4, &crc, 4);
    file->at += sectors(HEADER + size);
    if (file->at > file->size) file->size = file->at;
}

struct input {
    const uint8_t *at, *end;
};

static unsigned take(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static size_t take_place(struct input *input)
{
    unsigned low = take(input);
    return (low | take(input) << 8) % FILE_MAX;
}

static void make_step(struct input *input)
{
    unsigned step = take(input);
    struct file *file = &files[step >> 7];
    size_t place;
    switch (step % 8) {
    case 0: /* somewhere else */ file->at = take(input) * JOURNAL_SECTOR % FILE_MAX; return;
    case 1: file->bytes[take_place(input)] ^= (uint8_t)take(input); return;
    case 2: file->size = take_place(input); return;
    case 3: /* the file goes on without an entry */
        place = take_place(input);
        if (place > file->size) file->size = place;
        return;
    case 4:
        for (size_t count = take(input) % 64; count && input->at < input->end; count--) {
            place = file->at++ % FILE_MAX;
            file->bytes[place] = (uint8_t)take(input);
            if (place >= file->size) file->size = place + 1;
        }
        file->at = sectors(file->at) % FILE_MAX;
        return;
    default: {
        uint64_t sequence = take(input) % 32;
        size_t size = take(input) * 8u + 1;
        put_entry(file, step & 64 ? KEY + 1 : KEY, sequence, size, 1 + (step >> 5 & 1));
    }
    }
}

static void write_files(void)
{
    for (int half = 0; half < JOURNAL_HALVES; half++) {
        char path[96];
        snprintf(path, sizeof path, "%s/journal-%d", folder, half);
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        CHECK(fd >= 0 && write(fd, files[half].bytes, files[half].size) == (ssize_t)files[half].size);
        close(fd);
    }
}

/* --- what is there --- */

struct found {
    uint64_t key, sequence;
    size_t size; /* of the body */
};

static bool whole_at(const struct file *file, size_t at, struct found *found)
{
    uint32_t magic, crc, size;
    if (at > file->size || file->size - at < HEADER) return false;
    memcpy(&magic, file->bytes + at, 4);
    memcpy(&crc, file->bytes + at + 4, 4);
    memcpy(&found->key, file->bytes + at + 8, 8);
    memcpy(&found->sequence, file->bytes + at + 16, 8);
    memcpy(&size, file->bytes + at + 24, 4);
    found->size = le32toh(size);
    found->key = le64toh(found->key);
    found->sequence = le64toh(found->sequence);
    if (le32toh(magic) != 0x6c6e726a || found->size > file->size - at - HEADER) return false;
    return le32toh(crc) ==
           hash_crc32(slice_make((const char *)file->bytes + at + 8, HEADER - 8 + found->size));
}

/* What follows each other from the beginning of a file. */
static bool next_in_chain(const struct file *file, size_t *at, struct found *found)
{
    struct found next;
    if (!whole_at(file, *at, &next) || next.key != KEY || (*at && next.sequence != found->sequence + 1))
        return false;
    *found = next;
    *at += sectors(HEADER + next.size);
    return true;
}

static bool is_chained(uint64_t sequence)
{
    struct found found;
    for (int half = 0; half < JOURNAL_HALVES; half++)
        for (size_t at = 0; next_in_chain(&files[half], &at, &found);)
            if (found.sequence == sequence) return true;
    return false;
}

static bool is_foreign(void)
{
    struct found found;
    for (int half = 0; half < JOURNAL_HALVES; half++)
        if (whole_at(&files[half], 0, &found) && found.key != KEY) return true;
    return false;
}

/* Whether an entry that comes after the last one read is whole, not counting what lies in bodies. */
static bool is_left(uint64_t last)
{
    struct found found;
    for (int half = 0; half < JOURNAL_HALVES; half++) {
        size_t at = 0;
        while (next_in_chain(&files[half], &at, &found))
            if (found.sequence > last) return true;
        for (; at < files[half].size; at += JOURNAL_SECTOR)
            if (whole_at(&files[half], at, &found) && found.key == KEY && found.sequence > last) return true;
    }
    return false;
}

/* --- reading --- */

struct reading {
    uint64_t last;
    unsigned count;
    uint32_t sum;
};

static int see(void *user, const struct journal_entry *entry, struct fault *fault)
{
    struct reading *reading = user;
    struct found found;
    CHECK(entry->sequence == reading->last + 1);
    reading->last++;
    reading->count++;
    reading->sum = reading->sum * 31 + hash_crc32(entry->body) + entry->kind;
    const struct file *file = &files[entry->half];
    for (size_t at = 0; at < file->size; at += JOURNAL_SECTOR)
        if (whole_at(file, at, &found) && found.key == KEY && found.sequence == entry->sequence &&
            found.size == entry->body.size &&
            memcmp(file->bytes + at + HEADER, entry->body.data, found.size) == 0)
            return 0;
    CHECK(entry->body.size == 4 && memcmp(entry->body.data, "next", 4) == 0); /* it was put behind them */
    return 0;
}

static int read_all(const struct journal_mark *mark, struct reading *reading, struct journal_end *end)
{
    struct fault fault = {0};
    *reading = (struct reading){.last = mark->sequence};
    int result = journal_read(folder, mark, see, reading, end, &fault);
    CHECK(end->sequence == reading->last);
    CHECK(result == 0 || fault.code == FAULT_CORRUPT);
    return result;
}

static void go_on(const struct journal_mark *mark, const struct reading *before, struct journal_end end)
{
    struct journal *journal;
    struct reading after;
    struct buf entry = {0};
    CHECK(journal_open(folder, KEY, &end, &journal, NULL) == 0);
    journal_begin(&entry);
    buf_put_text(&entry, "next");
    CHECK(journal_put(journal, JOURNAL_BATCH, &entry, NULL) == 0);
    CHECK(journal_sequence(journal) == before->last + 1);
    CHECK(journal_moved(folder, KEY, &end));
    journal_close(journal);
    buf_release(&entry);
    CHECK(read_all(mark, &after, &end) == 0);
    CHECK(after.count == before->count + 1);
    CHECK(after.sum == before->sum * 31 + hash_crc32(slice_of("next")) + JOURNAL_BATCH);
}

static void clean_up(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*folder) {
        snprintf(folder, sizeof folder, "/dev/shm/lore-fuzz-XXXXXX");
        CHECK(mkdtemp(folder));
        atexit(clean_up);
    }
    struct input input = {data, data + size};
    unsigned first = take(&input);
    memset(files, 0, sizeof files);
    while (input.at < input.end) make_step(&input);
    write_files();
    struct journal_mark mark = {KEY, first % 16};
    struct reading reading;
    struct journal_end end;
    int result = read_all(&mark, &reading, &end);
    bool foreign = is_foreign();
    CHECK((result < 0) == (foreign || is_left(reading.last)));
    CHECK(foreign || !is_chained(reading.last + 1));
    if (result == 0 && first & 128) go_on(&mark, &reading, end);
    return 0;
}
