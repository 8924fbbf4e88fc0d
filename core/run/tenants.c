#include "run/tenants.h"

#include "base/mem.h"
#include "codec/text.h"
#include "run/inside.h"

static void tenants_add(struct tenants *tenants, struct slice name)
{
    if (!name.size || map_find(&tenants->known, name)) return;
    if (tenants->count == tenants->count_max) {
        tenants->count_max = tenants->count_max ? 2 * tenants->count_max : 8;
        tenants->list = mem_resize(tenants->list, tenants->count_max * sizeof *tenants->list);
    }
    tenants->list[tenants->count++] = name;
    map_put(&tenants->known, name, tenants); /* any value */
}

void tenants_init(struct tenants *tenants, struct release *release)
{
    *tenants = (struct tenants){.release = release};
    struct slice *name;
    for (size_t at = 0; (name = map_next(&release->catalog.tenants, &at));) tenants_add(tenants, *name);
}

void tenants_release(struct tenants *tenants)
{
    map_release(&tenants->known);
    mem_free(tenants->list);
}

static bool tenants_found(void *user, struct slice id, uint64_t version)
{
    *(bool *)user = true;
    return false;
}

/* Whether the name, which may be one of anything, has a stream as a tenant. */
static int tenants_wrote(struct tenants *tenants, struct slice name, bool *wrote, struct fault *fault)
{
    const struct catalog *catalog = &tenants->release->catalog;
    const struct map *maps[] = {&catalog->aggregates, &catalog->senders};
    const struct catalog_aggregate *aggregate;
    for (size_t map = 0; map < 2; map++)
        for (size_t at = 0; !*wrote && (aggregate = map_next(maps[map], &at));)
            if (engine_each_stream(tenants->release->hub->engine, name, aggregate->name, tenants_found, wrote,
                                   fault) < 0)
                return -1;
    return 0;
}

/* At first the index is asked, which is quicker than reading the whole log. */
static int tenants_begin(struct tenants *tenants, struct fault *fault)
{
    struct names *names = engine_names(tenants->release->hub->engine);
    uint64_t position = engine_head(tenants->release->hub->engine).position;
    for (uint32_t number = 1; number <= names_count(names); number++) {
        struct slice name = names_get(names, number);
        bool wrote = false;
        if (!text_is_tenant(name) || map_find(&tenants->known, name)) continue;
        if (tenants_wrote(tenants, name, &wrote, fault) < 0) return -1;
        if (wrote) tenants_add(tenants, name);
    }
    tenants->position = position;
    tenants->begun = true;
    return 0;
}

int tenants_look(struct tenants *tenants, struct fault *fault)
{
    struct engine *engine = tenants->release->hub->engine;
    if (!tenants->release->catalog.tenants_open) return 0;
    if (!tenants->begun) return tenants_begin(tenants, fault);
    struct engine_cursor *cursor;
    struct record record;
    uint32_t last = 0;
    int more;
    if (engine_head(engine).position == tenants->position) return 0;
    if (engine_read(engine, tenants->position + 1, &cursor, fault) < 0) return -1;
    while ((more = engine_cursor_next(cursor, &record, fault)) == 1) {
        if (record.tenant != last) tenants_add(tenants, names_get(record.names, record.tenant));
        last = record.tenant;
        tenants->position = record.first_position + record.event_count - 1;
    }
    engine_cursor_close(cursor);
    return more;
}
