/* deployer_support.h: versions of one folder of scripts, and what deploys of them leave behind. Each version
 * writes its number into what it does, and that number is its deploy's, so every event tells whether the code
 * that its commit names is the code that made it. */
#ifndef LORE_TESTS_DEPLOYER_SUPPORT_H
#define LORE_TESTS_DEPLOYER_SUPPORT_H

#include <dirent.h>
#include <stdatomic.h>

#include "codec/mp.h"
#include "run_support.h"

enum { SCRIPTS_MAX = 10 };

/* --- scripts --- */

struct scripts {
    struct deploy_text texts[SCRIPTS_MAX];
    size_t count;
};

static const char contracts[] = "contracts [[\n"
                                "  Mark?\n"
                                "  Marked! (by: integer)\n"
                                "  Ring?\n"
                                "  Rang!   (by: integer)\n"
                                "  Ticked! (by: integer)\n"
                                "]]\n";
static const char still[] = "local still = projection 'still' { initial = { n = 0 } }\n"
                            "function still.when.Marked(view, e) view.n = view.n + 1 end\n";
static const char names[] = "local names = projection 'names' { initial = { n = 0 } }\n"
                            "function names.when.Marked(view, e) view.n = view.n + 2 end\n";

static void put_script(struct scripts *scripts, const char *path, const char *text)
{
    scripts->texts[scripts->count++] = (struct deploy_text){slice_of(path), slice_of(strdup(text))};
}

static void put_numbered(struct scripts *scripts, const char *path, const char *format, int number)
{
    char text[1024];
    snprintf(text, sizeof text, format, number);
    put_script(scripts, path, text);
}

/* What only the view's fold differs in is a version of its own. */
static struct scripts version_with_view(int number, int view)
{
    struct scripts scripts = {0};
    put_script(&scripts, "bank/contracts.lua", contracts);
    put_script(&scripts, "bank/still.lua", still);
    put_numbered(&scripts, "bank/account.lua",
                 "local account = aggregate 'account' { initial = { marks = 0 } }\n"
                 "function account.apply.Marked(state, e) state.marks = state.marks + 1 end\n"
                 "function account.execute.Mark() return Marked { by = %d } end\n",
                 number);
    put_numbered(&scripts, "bank/mail.lua",
                 "local mail = service 'mail'\n"
                 "function mail.when.Ring(c) publish(Rang { by = %d }) end\n",
                 number);
    put_script(&scripts, "bank/echo.lua",
               "local echo = receptor 'echo'\n"
               "function echo.when.Rang(e, m) send.account(m.id, Mark {}) end\n");
    put_numbered(&scripts, "bank/tick.lua",
                 "local tick = task 'tick' { every = '1h' }\n"
                 "function tick.run(now) publish(Ticked { by = %d }) end\n",
                 number);
    put_numbered(&scripts, "bank/marks.lua",
                 "local marks = projection 'marks' { initial = { n = 0 } }\n"
                 "function marks.when.Marked(view, e) view.n, view.code = view.n + 1, %d end\n",
                 view);
    return scripts;
}

static struct scripts version(int number)
{
    return version_with_view(number, number);
}

static void drop_script(struct scripts *scripts, const char *path)
{
    for (size_t at = 0; at < scripts->count; at++)
        if (slice_is(scripts->texts[at].path, path)) {
            free((char *)scripts->texts[at].text.data);
            scripts->texts[at] = scripts->texts[--scripts->count];
            return;
        }
    fail_msg("no script %s", path);
}

static void free_scripts(struct scripts *scripts)
{
    for (size_t at = 0; at < scripts->count; at++) free((char *)scripts->texts[at].text.data);
    scripts->count = 0;
}

static void write_scripts(struct scripts scripts)
{
    for (size_t at = 0; at < scripts.count; at++)
        write_script(scripts.texts[at].path.data, scripts.texts[at].text.data);
    free_scripts(&scripts);
}

/* --- deploys --- */

struct given {
    struct deploy_order order;
    sem_t done;
};

static void given_done(struct deploy_order *order)
{
    sem_post(&((struct given *)order->user)->done);
}

/* Frees the scripts. */
static void give(struct hub *hub, struct given *given, enum deploy_order_kind kind, struct scripts scripts)
{
    struct fault fault;
    given->order.kind = kind;
    given->order.texts = scripts.texts;
    given->order.text_count = scripts.count;
    given->order.done = given_done;
    given->order.user = given;
    sem_init(&given->done, 0, 0);
    if (hub_deploy(hub, &given->order, &fault) < 0) fail_msg("%s", fault.text);
    free_scripts(&scripts);
}

static struct given *take(struct given *given)
{
    while (sem_wait(&given->done) < 0) continue;
    sem_destroy(&given->done);
    return given;
}

static bool reports(const struct given *given, const char *text)
{
    struct slice report = buf_slice(&given->order.report);
    return report.size && memmem(report.data, report.size, text, strlen(text));
}

static uint64_t expect_order(struct hub *hub, enum deploy_order_kind kind, struct scripts scripts,
                             bool replay, enum fault_code code)
{
    struct given given = {.order = {.replay = replay}};
    give(hub, &given, kind, scripts);
    take(&given);
    if (given.order.fault.code != code)
        fail_msg("%s: %s", fault_name(given.order.fault.code), given.order.fault.text);
    buf_release(&given.order.report);
    return given.order.deploy;
}

static void deploy(struct hub *hub, struct scripts scripts, uint64_t number)
{
    assert_int_equal(expect_order(hub, DEPLOY_ORDER_DEPLOY, scripts, false, FAULT_NONE), number);
}

static void plan(struct hub *hub, struct scripts scripts)
{
    expect_order(hub, DEPLOY_ORDER_PLAN, scripts, true, FAULT_NONE);
}

static void undeploy(struct hub *hub, uint64_t number)
{
    struct scripts none = {0};
    assert_int_equal(expect_order(hub, DEPLOY_ORDER_UNDEPLOY, none, false, FAULT_NONE), number);
}

/* --- hubs --- */

static int begin(void **state)
{
    setup(state);
    remove_folder(folder("scripts"));
    write_scripts(version(1));
    return 0;
}

static struct hub *open_staying(const char *data)
{
    return open_hub_with((struct hub_options){.data = data, .shards = 2, .projectors = 2, .schedule = true});
}

static struct hub *open_held(struct held_engine *held)
{
    return open_hub_with(
        (struct hub_options){.engine = &held->engine, .shards = 2, .projectors = 2, .schedule = true});
}

static struct command *mark_of(const char *id)
{
    return command_of(id, "Mark", "{}", NULL);
}

static void mark(struct hub *hub, const char *id)
{
    expect(hub, id, "Mark", "{}", FAULT_NONE);
}

/* --- what is there --- */

static size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

/* Names of generations, in order. */
static struct buf generations(void)
{
    struct dirent **found;
    struct buf out = {0};
    int count = scandir(folder("data/views"), &found, NULL, alphasort);
    assert_true(count >= 0);
    for (int at = 0; at < count; at++) {
        if (found[at]->d_name[0] != '.') buf_format(&out, "%s\n", found[at]->d_name);
        free(found[at]);
    }
    free(found);
    buf_put_byte(&out, 0);
    return out;
}

/* The threads and the files of what was end by and by. */
static void expect_entries(const char *folder, size_t most)
{
    size_t now = 0;
    for (int looks = 0; looks < 30000; looks++) {
        now = count_entries(folder);
        if (now <= most) return;
        usleep(1000);
    }
    fail_msg("%s: %zu, not %zu", folder, now, most);
}

static struct view_info info_of(struct hub *hub, const char *name)
{
    struct view_info info;
    for (size_t at = 0; at < hub_view_count(hub); at++)
        if (hub_view_info(hub, at, &info) && strcmp(info.name, name) == 0) return info;
    fail_msg("no view %s", name);
    return info;
}

static struct buf all_views(struct hub *hub)
{
    struct buf out = {0};
    struct view_info info;
    settle(hub);
    for (size_t at = 0; at < hub_view_count(hub); at++) {
        if (!hub_view_info(hub, at, &info)) continue;
        struct buf text = view_text(hub, info.name, "main");
        buf_format(&out, "-- %s\n%s", info.name, text.data);
        buf_release(&text);
    }
    buf_put_byte(&out, 0);
    return out;
}

/* Built anew they are the same. */
static void expect_as_rebuilt(struct hub *hub)
{
    struct buf before = all_views(hub);
    struct view_info info;
    for (size_t at = 0; at < hub_view_count(hub); at++)
        if (hub_view_info(hub, at, &info))
            assert_int_equal(hub_rebuild(hub, slice_of(info.name), &test_fault), 0);
    struct buf after = all_views(hub);
    assert_string_equal(before.data, after.data);
    buf_release(&before);
    buf_release(&after);
}

/* Counts the events of a type, each made by the code that its commit names. */
static size_t expect_code(struct hub *hub, const char *type)
{
    size_t count = 0;
    struct engine_cursor *cursor;
    struct record record;
    assert_int_equal(engine_read(hub_engine(hub), 1, &cursor, &test_fault), 0);
    while (engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) {
            struct slice bytes;
            struct mp_value by;
            if (!slice_is(names_get(record.names, event.type), type)) continue;
            assert_true(mp_find(event.data, slice_of("by"), &bytes));
            struct mp_reader reader = mp_reader_of(bytes);
            assert_int_equal(mp_read(&reader, &by), 0);
            if (by.integer != (int64_t)record.deploy)
                fail_msg("%s at position %llu of deploy %llu was made by the code of %lld", type,
                         (unsigned long long)event.position, (unsigned long long)record.deploy,
                         (long long)by.integer);
            count++;
        }
    }
    engine_cursor_close(cursor);
    return count;
}

#endif
