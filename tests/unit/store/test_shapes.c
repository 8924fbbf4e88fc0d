/* Shapes: of single values by example; the counts against a naive recount, over restarts, other logs, cut
 * logs, damage, kills and a disk that fails. */
#include <sys/wait.h>

#include "base/faultpoint.h"
#include "base/limit.h"
#include "base/say.h"
#include "codec/json.h"
#include "store/shapes.h"
#include "unit/store/disk_support.h"

static uint64_t seed = 7;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(seed >> 33) % below;
}

static struct fault fault;

/* JSON with ' for ". */
static struct slice mp_of(struct arena *arena, const char *json)
{
    struct slice kept = arena_copy(arena, slice_of(json));
    struct buf out = {0};
    for (char *at = (char *)(uintptr_t)kept.data; *at; at++)
        if (*at == '\'') *at = '"';
    if (json_to_mp(kept, &out, &fault) < 0) fail_msg("%s: %s", json, fault.text);
    kept = arena_copy(arena, buf_slice(&out));
    buf_release(&out);
    return kept;
}

static void assert_shape(const char *json, const char *expected)
{
    struct arena arena = {0};
    struct buf text = {0};
    bool fine = shape_put(&text, mp_of(&arena, json));
    if (fine != (expected != NULL)) fail_msg("%s: %s", json, fine ? "has a shape" : "has none");
    if (expected && !slice_is(buf_slice(&text), expected))
        fail_msg("%s: %.*s instead of %s", json, SLICE_ARGS(buf_slice(&text)), expected);
    if (!expected) assert_int_equal(text.size, 0);
    buf_release(&text);
    arena_release(&arena);
}

/* --- one value --- */

static void test_values(void **state)
{
    assert_shape("{}", "{}");
    assert_shape("{'a':1,'b':1.5,'c':'x','d':true,'e':null}", "{a:integer,b:float,c:text,d:boolean,e:nil}");
    assert_shape("{'at':'2026-02-01T08:26:00.000Z','on':'2026-02-01'}", "{at:time,on:text}");
    assert_shape("{'at':'2026-02-01T08:26:00.000z'}", "{at:text}");
    assert_shape("{'a':{'b':{'c':1}},'d':{}}", "{a:{b:{c:integer}},d:{}}");
    assert_shape("7", "integer");
}

static void test_decimals(void **state)
{
    struct buf data = {0}, text = {0};
    mp_put_map(&data, 1);
    mp_put_text(&data, slice_of("sum"));
    mp_put_decimal(&data, slice_of("1.20"));
    assert_true(shape_put(&text, buf_slice(&data)));
    assert_true(slice_is(buf_slice(&text), "{sum:decimal}"));
    buf_release(&data);
    buf_release(&text);
}

static void test_lists(void **state)
{
    assert_shape("{'l':[]}", "{l:[]}");
    assert_shape("{'l':[1,2,3]}", "{l:[integer]}");
    assert_shape("{'l':['x',1,null,'y']}", "{l:[nil|integer|text]}");
    assert_shape("{'l':[{'a':1},{'a':2,'b':'x'},{'a':1.5}]}", "{l:[{a:integer|float,b?:text}]}");
    assert_shape("{'l':[{'b':1},{'a':2},{'c':3}]}", "{l:[{a?:integer,b?:integer,c?:integer}]}");
    assert_shape("{'l':[[1],[],['x']]}", "{l:[[integer|text]]}");
    assert_shape("{'l':[1,[2],{'a':3},{'B':4}]}", "{l:[integer|[integer]|{*:integer}|{a:integer}]}");
    /* A record in a list in a record of a list: what is missing in some is counted where it is. */
    assert_shape("{'l':[{'m':[{'x':1},{}]},{'m':[{'x':2}]}]}", "{l:[{m:[{x?:integer}]}]}");
}

static void test_maps(void **state)
{
    assert_shape("{'rates':{'EUR':1,'USD':1.5}}", "{rates:{*:integer|float}}");
    assert_shape("{'rates':{'EUR':{'a':1},'USD':{'a':2,'b':3}}}", "{rates:{*:{a:integer,b?:integer}}}");
    assert_shape("{'rates':{'eur':1,'usd 2':1}}", "{rates:{*:integer}}");
    assert_shape("{'m':{'a':{'b':1},'Z':2}}", "{m:{*:integer|{b:integer}}}");
}

static void test_bounds(void **state)
{
    assert_shape("{'a':{'a':{'a':{'a':{'a':{'a':1}}}}}}", "{a:{a:{a:{a:{a:{a:integer}}}}}}");
    assert_shape("{'a':{'a':{'a':{'a':{'a':{'a':{'a':1}}}}}}}", "{a:{a:{a:{a:{a:{a:\xe2\x80\xa6}}}}}}");
    assert_shape("[[[[[[[1]]]]]]]", "[[[[[[\xe2\x80\xa6]]]]]]");
    struct buf many = {0};
    for (int fields = LIMIT_SHAPE_FIELDS_MAX; fields <= LIMIT_SHAPE_FIELDS_MAX + 1; fields++) {
        struct buf text = {0};
        buf_clear(&many);
        mp_put_map(&many, (uint32_t)fields);
        for (int at = 0; at < fields; at++) {
            char name[16];
            int size = snprintf(name, sizeof name, "f%05d", at);
            mp_put_text(&many, slice_make(name, (size_t)size));
            mp_put_bool(&many, true);
        }
        assert_int_equal(shape_put(&text, buf_slice(&many)), fields == LIMIT_SHAPE_FIELDS_MAX);
        buf_release(&text);
    }
    buf_release(&many);
}

/* --- reading a shape --- */

static void collect(void *user, struct slice path, unsigned int kinds, struct slice kind, bool optional)
{
    buf_format(user, "%.*s%s=%.*s ", SLICE_ARGS(path), optional ? "?" : "", SLICE_ARGS(kind));
}

static void assert_places(const char *shape, const char *expected)
{
    struct buf found = {0};
    bool fine = shape_each(slice_of(shape), collect, &found);
    if (fine != (expected != NULL)) fail_msg("%s: %s", shape, fine ? "is one" : "is none");
    if (expected && !slice_is(buf_slice(&found), expected))
        fail_msg("%s: %.*s", shape, SLICE_ARGS(buf_slice(&found)));
    buf_release(&found);
}

static void test_places(void **state)
{
    assert_places("{}", "");
    assert_places("{a:integer,b:{c:text|time,d:[]}}", "a=integer b=record b.c=text|time b.d=list ");
    assert_places("{l:[integer|{n?:text}],m:{*:decimal|[nil]}}",
                  "l=list l[]=integer|record l[].n?=text m=map m{}=decimal|list m{}[]=nil ");
    assert_places("{a:\xe2\x80\xa6}", "a=\xe2\x80\xa6 ");
    assert_places("amount:decimal", "amount=decimal ");
    assert_places("lines:list", "lines=list ");
    static const char *const wrong[] = {"",
                                        "{",
                                        "{a}",
                                        "{a:}",
                                        "{a:integer",
                                        "{a:integer}}",
                                        "{a:b}",
                                        "a:",
                                        "{:}",
                                        "{a:integer|}",
                                        "{*integer}",
                                        "[integer",
                                        "\xe2",
                                        "{,}",
                                        "{a:[}",
                                        "{m:{*:,x:nil}",
                                        "{m:{*:}}",
                                        "[]]",
                                        "{a:integer,}"};
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) assert_places(wrong[at], NULL);
}

/* --- a log of random events, and the naive counts of it --- */

static const char *const values[] = {"1",     "1.5", "'x'",     "null",    "'2026-02-01T08:26:00.000Z'",
                                     "[1,2]", "[]",  "{'a':1}", "{'A':1}", "[{'a':1},{'b':2}]"};

static struct slice random_data(struct arena *arena, unsigned fields, unsigned kinds)
{
    struct buf json = {0};
    buf_put_byte(&json, '{');
    bool first = true;
    for (unsigned at = 0; at < fields; at++) {
        if (draw(3) == 0) continue;
        buf_format(&json, "%s'f%u':%s", first ? "" : ",", at, values[draw(kinds)]);
        first = false;
    }
    buf_put(&json, "}", 2);
    struct slice data = mp_of(arena, json.data);
    buf_release(&json);
    return data;
}

/* Type Few has some shapes, Many far more than are kept; $Sent is not counted. */
static void append_random(struct engine *engine, int commits)
{
    struct arena arena = {0};
    for (int round = 0; round < commits; round++) {
        static const char *const aggregates[] = {"billing/bill", "billing/account", "shop/order"};
        char *id = arena_zero(&arena, 16);
        snprintf(id, 16, "s%u", draw(9));
        struct stream_id stream = {slice_of(draw(2) ? "main" : "acme"), slice_of(aggregates[draw(3)]),
                                   slice_of(id)};
        size_t count = draw(8) == 0 ? 0 : 1 + draw(4);
        struct commit *commit = case_commit(&arena, stream, case_version(engine, stream, NULL), count, NULL);
        struct commit_event *events = (struct commit_event *)(uintptr_t)commit->events;
        for (size_t at = 0; at < count; at++) {
            unsigned kind = draw(10);
            events[at].type = slice_of(kind == 0 ? "$Sent" : kind < 5 ? "Few" : "Many");
            events[at].type_version = 1 + draw(2);
            events[at].data = kind < 5 ? random_data(&arena, 2, 3) : random_data(&arena, 5, 10);
        }
        assert_int_equal(case_append(engine, commit).outcome, APPEND_APPENDED);
    }
    arena_release(&arena);
}

struct naive_item {
    char key[200], text[400];
    bool is_field;
    uint64_t events, first, last;
};

struct naive {
    struct naive_item items[20000];
    size_t count;
};

static struct naive_item *naive_at(struct naive *naive, const char *key, struct slice text, bool is_field,
                                   bool make)
{
    for (size_t at = 0; at < naive->count; at++) {
        struct naive_item *item = &naive->items[at];
        if (strcmp(item->key, key) == 0 && slice_is(text, item->text)) return item;
    }
    if (!make) return NULL;
    struct naive_item *item = &naive->items[naive->count++];
    snprintf(item->key, sizeof item->key, "%s", key);
    snprintf(item->text, sizeof item->text, "%.*s", SLICE_ARGS(text));
    item->is_field = is_field;
    return item;
}

static size_t naive_shapes(const struct naive *naive, const char *key)
{
    size_t count = 0;
    for (size_t at = 0; at < naive->count; at++)
        count += strcmp(naive->items[at].key, key) == 0 && naive->items[at].text[0] == '{';
    return count;
}

static void naive_count(struct naive_item *item, uint64_t position)
{
    if (!item->events++) item->first = position;
    item->last = position;
}

struct naive_fields {
    struct naive *naive;
    const char *key;
    uint64_t position;
};

static void naive_field(void *user, struct slice text)
{
    struct naive_fields *fields = user;
    naive_count(naive_at(fields->naive, fields->key, text, true, true), fields->position);
}

static void naive_event(struct naive *naive, const struct record *record, const struct record_event *event)
{
    char key[200];
    struct buf text = {0};
    struct slice aggregate = names_get(record->names, record->aggregate);
    struct slice name = names_get(record->names, event->type);
    if (name.data[0] == '$') return;
    snprintf(key, sizeof key, "%.*s.%.*s %u",
             (int)((char *)memchr(aggregate.data, '/', aggregate.size) - aggregate.data), aggregate.data,
             SLICE_ARGS(name), event->type_version);
    naive_count(naive_at(naive, key, SLICE_NONE, false, true), event->position);
    assert_true(shape_put(&text, event->data));
    struct naive_item *item =
        naive_at(naive, key, buf_slice(&text), false, naive_shapes(naive, key) < LIMIT_SHAPES_MAX);
    if (item)
        naive_count(item, event->position);
    else
        shape_put_fields(event->data, naive_field, &(struct naive_fields){naive, key, event->position});
    buf_release(&text);
}

static struct naive *naive_of(struct engine *engine)
{
    struct naive *naive = calloc(1, sizeof *naive);
    struct engine_cursor *cursor;
    struct record record;
    assert_int_equal(engine_read(engine, 1, &cursor, &fault), 0);
    while (engine_cursor_next(cursor, &record, &fault) == 1) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) naive_event(naive, &record, &event);
    }
    engine_cursor_close(cursor);
    return naive;
}

static void assert_counts(struct engine *engine, struct shapes *shapes)
{
    struct naive *naive = naive_of(engine);
    size_t items = 0;
    uint64_t events = 0;
    for (size_t at = 0; at < shapes_count(shapes); at++) {
        const struct shape_type *type = shapes_at(shapes, at);
        char key[200];
        snprintf(key, sizeof key, "%.*s.%.*s %u", SLICE_ARGS(type->context), SLICE_ARGS(type->type),
                 type->version);
        struct naive_item *all = naive_at(naive, key, SLICE_NONE, false, false);
        assert_non_null(all);
        assert_int_equal(all->events, type->events);
        assert_int_equal(all->first, type->first);
        assert_int_equal(all->last, type->last);
        items += 1 + type->shape_count;
        uint64_t whole = 0;
        for (size_t in = 0; in < type->shape_count; in++) {
            const struct shape *shape = &type->shapes[in];
            struct naive_item *item = naive_at(naive, key, shape->text, false, false);
            if (!item) fail_msg("%s has no %.*s", key, SLICE_ARGS(shape->text));
            assert_int_equal(item->is_field, shape->is_field);
            assert_int_equal(item->events, shape->events);
            assert_int_equal(item->first, shape->first);
            assert_int_equal(item->last, shape->last);
            if (!shape->is_field) whole += shape->events;
        }
        assert_int_equal(whole + type->beyond, type->events);
        events += type->events;
    }
    assert_int_equal(items, naive->count);
    assert_int_equal(shapes_position(shapes), engine_head(engine).position);
    free(naive);
}

static struct shapes *shapes_now(struct engine *engine, const char *path)
{
    struct shapes *shapes;
    if (shapes_of_log(engine, path, NULL, &shapes, &fault) < 0) fail_msg("%s", fault.text);
    return shapes;
}

static const char *file_of(const char *path)
{
    static char file[256];
    snprintf(file, sizeof file, "%s/shapes", path);
    return file;
}

static void save(struct shapes *shapes, const char *path)
{
    if (shapes_save(shapes, file_of(path), &fault) < 0) fail_msg("%s", fault.text);
}

static void test_random(void **state)
{
    struct engine *engine;
    assert_int_equal(engine_open_memory(&(struct engine_options){0}, &engine, &fault), 0);
    struct shapes *along = shapes_new();
    for (int round = 0; round < 12; round++) {
        append_random(engine, 60);
        int more;
        /* Steps of a few events, so cursors begin anywhere. */
        while ((more = shapes_follow(along, engine, 1 + draw(40), &fault)) == 1) continue;
        assert_int_equal(more, 0);
    }
    assert_counts(engine, along);
    struct shapes *once = shapes_now(engine, NULL);
    assert_true(shapes_equal(along, once));
    bool beyond = false;
    for (size_t at = 0; at < shapes_count(once); at++) beyond |= shapes_at(once, at)->beyond > 0;
    assert_true(beyond);
    shapes_free(along);
    shapes_free(once);
    engine_close(engine);
}

/* --- the file --- */

static void test_restart(void **state)
{
    const char *path = case_directory();
    for (int round = 0; round < 4; round++) {
        struct engine *engine = disk_open(path);
        append_random(engine, 40);
        struct shapes *shapes = shapes_now(engine, file_of(path));
        assert_counts(engine, shapes);
        save(shapes, path);
        append_random(engine, 20);
        shapes_free(shapes);
        engine_close(engine);
        disk_assert_verified(path);
    }
    case_remove(path);
}

/* Each byte flipped, each length cut: never an error of the counts, and verify says so. */
static void test_damage(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    append_random(engine, 40);
    struct shapes *right = shapes_now(engine, file_of(path));
    save(right, path);
    size_t size;
    char *bytes = disk_read(path, "shapes", &size);
    for (size_t at = 0; at < size; at += 1 + draw(40)) {
        disk_flip(path, "shapes", (off_t)at, (uint8_t)(1 + draw(255)));
        struct shapes *loaded, *shapes = shapes_now(engine, file_of(path));
        assert_int_equal(shapes_load(file_of(path), &loaded, &fault), -1);
        assert_int_equal(fault.code, FAULT_CORRUPT);
        assert_true(shapes_equal(right, shapes));
        shapes_free(shapes);
        if (at < 200) assert_false(disk_verify(path).ok);
        save(right, path);
    }
    for (size_t cut = 0; cut < size; cut += 1 + draw(60)) {
        struct shapes *shapes;
        assert_false(shapes_read(slice_make(bytes, cut), &shapes));
    }
    assert_int_equal(unlink(file_of(path)), 0);
    struct shapes *again = shapes_now(engine, file_of(path));
    assert_true(shapes_equal(right, again));
    disk_assert_verified(path);
    shapes_free(again);
    shapes_free(right);
    free(bytes);
    engine_close(engine);
    case_remove(path);
}

/* Whole, but not what the log has: a count more than there is. */
static void test_wrong_counts(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    append_random(engine, 40);
    struct shapes *shapes = shapes_now(engine, NULL);
    struct engine_cursor *cursor;
    struct record record;
    assert_int_equal(engine_read(engine, engine_head(engine).position, &cursor, &fault), 0);
    assert_int_equal(engine_cursor_next(cursor, &record, &fault), 1);
    shapes_add(shapes, &record);
    engine_cursor_close(cursor);
    save(shapes, path);
    shapes_free(shapes);
    struct verify_report report = disk_verify(path);
    assert_false(report.ok);
    assert_non_null(strstr(report.damage, "shapes: they are not those of the log"));
    engine_close(engine);
    case_remove(path);
}

/* Another log, another epoch, a log that lost its end or has another one: counted anew, and no finding. */
static void test_other_log(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path), *engine2;
    assert_int_equal(engine_open_memory(&(struct engine_options){0}, &engine2, &fault), 0);
    append_random(engine, 30);
    append_random(engine2, 60);
    struct shapes *foreign = shapes_now(engine2, NULL);
    save(foreign, path);
    disk_assert_verified(path);
    struct shapes *shapes = shapes_now(engine, file_of(path));
    assert_counts(engine, shapes);
    /* The same log by name, but what was counted is not in it: as after a cut and new events. */
    struct engine_head head = engine_head(engine);
    struct shapes *mixed = shapes_new();
    struct engine_cursor *cursor;
    struct record record;
    shapes_begin(mixed, &head);
    assert_int_equal(engine_read(engine2, 1, &cursor, &fault), 0);
    while (engine_cursor_next(cursor, &record, &fault) == 1 && shapes_position(mixed) < head.position / 2)
        shapes_add(mixed, &record);
    engine_cursor_close(cursor);
    save(mixed, path);
    disk_assert_verified(path);
    struct shapes *again = shapes_now(engine, file_of(path));
    assert_true(shapes_equal(shapes, again));
    shapes_free(again);
    /* Beyond its end. */
    struct shapes *beyond = shapes_new();
    shapes_begin(beyond, &head);
    assert_int_equal(engine_read(engine2, 1, &cursor, &fault), 0);
    while (engine_cursor_next(cursor, &record, &fault) == 1) shapes_add(beyond, &record);
    engine_cursor_close(cursor);
    assert_true(shapes_position(beyond) > head.position);
    save(beyond, path);
    disk_assert_verified(path);
    again = shapes_now(engine, file_of(path));
    assert_true(shapes_equal(shapes, again));
    shapes_free(again);
    shapes_free(mixed);
    shapes_free(beyond);
    shapes_free(foreign);
    shapes_free(shapes);
    engine_close(engine);
    engine_close(engine2);
    case_remove(path);
}

static void test_other_epoch(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    append_random(engine, 30);
    struct shapes *shapes = shapes_now(engine, NULL);
    struct engine_head head = engine_head(engine);
    assert_true(shapes_fits(shapes, &head));
    head.epoch++;
    assert_false(shapes_fits(shapes, &head));
    /* In a running process: it begins anew, though chain and position still fit. */
    shapes_begin(shapes, &head);
    assert_int_equal(shapes_position(shapes), 0);
    while (shapes_follow(shapes, engine, 7, &fault) == 1) continue;
    assert_counts(engine, shapes);
    shapes_free(shapes);
    engine_close(engine);
    case_remove(path);
}

static void test_erased(void **state)
{
    struct names *names = names_new();
    struct arena arena = {0};
    struct hash chain = {{0}};
    struct buf bytes = {0}, erased = {0};
    struct record record;
    struct commit *commit = case_commit(&arena, case_stream("main", "one"), 0, 3, "c");
    commit->first_position = 1;
    record_write(commit, names, 0, &chain, &bytes);
    assert_int_equal(record_open(buf_slice(&bytes), names, &record, &fault), 0);
    record_erase(&record, &erased);
    struct shapes *shapes = shapes_new();
    shapes_add(shapes, &record);
    assert_int_equal(shapes_count(shapes), 2);
    shapes_free(shapes);
    shapes = shapes_new();
    assert_int_equal(record_open(buf_slice(&erased), names, &record, &fault), 0);
    shapes_add(shapes, &record);
    assert_int_equal(shapes_count(shapes), 0);
    assert_int_equal(shapes_position(shapes), 3);
    shapes_free(shapes);
    buf_release(&bytes);
    buf_release(&erased);
    arena_release(&arena);
    names_free(names);
}

/* A disk that fails leaves what was there; a kill while it is written too. */
static void test_write_fails(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    append_random(engine, 30);
    struct shapes *before = shapes_now(engine, NULL), *loaded;
    save(before, path);
    append_random(engine, 30);
    struct shapes *after = shapes_now(engine, file_of(path));
    assert_int_equal(fault_points_arm("shapes.write=ENOSPC", &fault), 0);
    assert_int_equal(shapes_save(after, file_of(path), &fault), -1);
    assert_int_equal(fault.code, FAULT_DISK);
    fault_points_disarm();
    assert_int_equal(shapes_load(file_of(path), &loaded, &fault), 1);
    assert_true(shapes_equal(loaded, before));
    shapes_free(loaded);
    pid_t child = fork();
    if (child == 0) {
        fault_points_arm("shapes.write@1=short,shapes.write@2=kill", &fault);
        shapes_save(after, file_of(path), &fault);
        _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(shapes_load(file_of(path), &loaded, &fault), 1);
    assert_true(shapes_equal(loaded, before));
    shapes_free(loaded);
    assert_int_equal(fault_points_arm("shapes.write=short", &fault), 0);
    save(after, path);
    fault_points_disarm();
    assert_int_equal(shapes_load(file_of(path), &loaded, &fault), 1);
    assert_true(shapes_equal(loaded, after));
    shapes_free(loaded);
    shapes_free(before);
    shapes_free(after);
    engine_close(engine);
    case_remove(path);
}

static int quiet(void **state)
{
    say_set_level(SAY_ERROR);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_lists),     cmocka_unit_test(test_maps),
        cmocka_unit_test(test_bounds),    cmocka_unit_test(test_places),
        cmocka_unit_test(test_random),    cmocka_unit_test(test_restart),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_wrong_counts),
        cmocka_unit_test(test_other_log), cmocka_unit_test(test_other_epoch),
        cmocka_unit_test(test_erased),    cmocka_unit_test(test_write_fails),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
