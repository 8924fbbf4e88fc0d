/* One value's shape, made in one pass over its bytes. Records are written as they are read; what is in lists
 * and maps is taken together in a tree of nodes first. */
#include "base/limit.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "codec/time.h"
#include "store/shapes.h"

static const char DEEP[] = "\xe2\x80\xa6"; /* … */

static const struct {
    unsigned int kind;
    const char *name;
} kind_names[] = {{SHAPE_NIL, "nil"},         {SHAPE_BOOLEAN, "boolean"}, {SHAPE_INTEGER, "integer"},
                  {SHAPE_FLOAT, "float"},     {SHAPE_TEXT, "text"},       {SHAPE_TIME, "time"},
                  {SHAPE_DECIMAL, "decimal"}, {SHAPE_LIST, "list"},       {SHAPE_MAP, "map"},
                  {SHAPE_RECORD, "record"},   {SHAPE_DEEP, DEEP}};
enum { KINDS = sizeof kind_names / sizeof *kind_names };

static const char *kind_name(unsigned int kind)
{
    int at = 0;
    while (kind_names[at].kind != kind) at++;
    return kind_names[at].name;
}

/* As contracts make them: "2026-02-01T08:26:00.000Z". */
static bool is_time(struct slice text)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    if (text.size != TIME_TEXT_SIZE) return false;
    for (int at = 0; at < TIME_TEXT_SIZE; at++) {
        bool digit = text.data[at] >= '0' && text.data[at] <= '9';
        if (form[at] == 'd' ? !digit : text.data[at] != form[at]) return false;
    }
    return true;
}

static unsigned int scalar_kind(const struct mp_value *value)
{
    switch (value->kind) {
    case MP_NIL: return SHAPE_NIL;
    case MP_BOOL: return SHAPE_BOOLEAN;
    case MP_INT: return SHAPE_INTEGER;
    case MP_FLOAT: return SHAPE_FLOAT;
    case MP_TEXT: return is_time(value->text) ? SHAPE_TIME : SHAPE_TEXT;
    case MP_DECIMAL: return SHAPE_DECIMAL;
    case MP_LIST: return SHAPE_LIST;
    case MP_MAP: break;
    }
    return SHAPE_MAP;
}

/* --- what is in lists and maps --- */

struct node {
    unsigned int kinds;
    uint32_t values;  /* taken together here */
    uint32_t records; /* of them */
    struct slice name;
    struct node *next;                  /* the record's next field, by name */
    struct node *fields, *item, *entry; /* of a record, a list, a map */
};

struct tree {
    struct node *nodes; /* LIMIT_SHAPE_FIELDS_MAX of them */
    int count;
};

static struct node *node_new(struct tree *tree)
{
    if (tree->count == LIMIT_SHAPE_FIELDS_MAX) return NULL;
    struct node *node = &tree->nodes[tree->count++];
    *node = (struct node){0};
    return node;
}

/* The node at *slot, made if it is not there; NULL: there are too many. */
static struct node *node_at(struct tree *tree, struct node **slot)
{
    if (!*slot) *slot = node_new(tree);
    return *slot;
}

/* The field of that name; *hint is the place of the one before it, since keys come in order. */
static struct node *node_field(struct tree *tree, struct node *record, struct node ***hint, struct slice name)
{
    struct node **slot = *hint;
    if (*slot && slice_compare((*slot)->name, name) > 0) slot = &record->fields;
    while (*slot && slice_compare((*slot)->name, name) < 0) slot = &(*slot)->next;
    if (!*slot || !slice_equal((*slot)->name, name)) {
        struct node *made = node_new(tree);
        if (!made) return NULL;
        made->name = name;
        made->next = *slot;
        *slot = made;
    }
    *hint = slot;
    return *slot;
}

/* Whether all of a map's keys are names of fields. */
static bool has_names(struct mp_reader reader, uint32_t count)
{
    struct mp_value key;
    for (uint32_t at = 0; at < count; at++)
        if (mp_read(&reader, &key) < 0 || key.kind != MP_TEXT || !text_is_name(key.text) ||
            mp_skip(&reader) < 0)
            return false;
    return true;
}

static bool merge(struct tree *tree, struct node *node, struct mp_reader *reader, int depth);

static bool merge_record(struct tree *tree, struct node *node, struct mp_reader *reader, uint32_t count,
                         int depth)
{
    struct node **hint = &node->fields;
    node->kinds |= SHAPE_RECORD;
    node->records++;
    for (uint32_t at = 0; at < count; at++) {
        struct mp_value key;
        if (mp_read(reader, &key) < 0) return false;
        struct node *field = node_field(tree, node, &hint, key.text);
        if (!field || !merge(tree, field, reader, depth + 1)) return false;
    }
    return true;
}

static bool merge_all(struct tree *tree, struct node **slot, struct mp_reader *reader, uint32_t count,
                      bool keys, int depth)
{
    struct node *inside = node_at(tree, slot);
    struct mp_value key;
    for (uint32_t at = 0; inside && at < count; at++) {
        if (keys && (mp_read(reader, &key) < 0 || key.kind != MP_TEXT)) return false;
        if (!merge(tree, inside, reader, depth + 1)) return false;
    }
    return inside != NULL;
}

static bool merge_container(struct tree *tree, struct node *node, struct mp_reader *reader,
                            const struct mp_value *value, int depth)
{
    if (value->kind == MP_MAP && has_names(*reader, value->count))
        return merge_record(tree, node, reader, value->count, depth);
    bool map = value->kind == MP_MAP;
    node->kinds |= map ? SHAPE_MAP : SHAPE_LIST;
    return merge_all(tree, map ? &node->entry : &node->item, reader, value->count, map, depth);
}

static bool merge(struct tree *tree, struct node *node, struct mp_reader *reader, int depth)
{
    struct mp_reader begin = *reader;
    struct mp_value value;
    if (mp_read(reader, &value) < 0) return false;
    node->values++;
    if (value.kind != MP_LIST && value.kind != MP_MAP) {
        node->kinds |= scalar_kind(&value);
        return true;
    }
    if (depth < LIMIT_SHAPE_DEPTH_MAX) return merge_container(tree, node, reader, &value, depth);
    node->kinds |= SHAPE_DEEP;
    *reader = begin;
    return mp_skip(reader) == 0;
}

/* --- as text --- */

static void put_node(struct buf *text, const struct node *node);

static void put_fields(struct buf *text, const struct node *node)
{
    buf_put_byte(text, '{');
    for (const struct node *field = node->fields; field; field = field->next) {
        if (field != node->fields) buf_put_byte(text, ',');
        buf_put_slice(text, field->name);
        if (field->values < node->records) buf_put_byte(text, '?');
        buf_put_byte(text, ':');
        put_node(text, field);
    }
    buf_put_byte(text, '}');
}

static void put_node(struct buf *text, const struct node *node)
{
    bool first = true;
    for (int at = 0; at < KINDS; at++) {
        unsigned int kind = kind_names[at].kind;
        if (!(node->kinds & kind)) continue;
        if (!first) buf_put_byte(text, '|');
        first = false;
        if (kind == SHAPE_RECORD) {
            put_fields(text, node);
        } else if (kind == SHAPE_LIST || kind == SHAPE_MAP) {
            buf_put_text(text, kind == SHAPE_LIST ? "[" : "{*:");
            put_node(text, kind == SHAPE_LIST ? node->item : node->entry);
            buf_put_byte(text, kind == SHAPE_LIST ? ']' : '}');
        } else {
            buf_put_text(text, kind_names[at].name);
        }
    }
}

struct put {
    struct buf *text;
    int fields;
};

static bool put_value(struct put *put, struct mp_reader *reader, int depth);

static bool put_together(struct put *put, struct mp_reader *reader, int depth)
{
    struct node nodes[LIMIT_SHAPE_FIELDS_MAX], all = {0};
    struct tree tree = {.nodes = nodes};
    if (!merge(&tree, &all, reader, depth)) return false;
    put->fields += tree.count;
    put_node(put->text, &all);
    return put->fields <= LIMIT_SHAPE_FIELDS_MAX;
}

/* 1: written; 0: a key is no name, so it is a map; -1: it is damaged or has too many fields. */
static int put_record(struct put *put, struct mp_reader *reader, uint32_t count, int depth)
{
    buf_put_byte(put->text, '{');
    for (uint32_t at = 0; at < count; at++) {
        struct mp_value key;
        if (mp_read(reader, &key) < 0 || key.kind != MP_TEXT) return -1;
        if (!text_is_name(key.text)) return 0;
        if (++put->fields > LIMIT_SHAPE_FIELDS_MAX) return -1;
        if (at) buf_put_byte(put->text, ',');
        buf_put(put->text, key.text.data, key.text.size);
        buf_put_byte(put->text, ':');
        if (!put_value(put, reader, depth + 1)) return -1;
    }
    buf_put_byte(put->text, '}');
    return 1;
}

static bool put_value(struct put *put, struct mp_reader *reader, int depth)
{
    struct mp_reader begin = *reader;
    struct mp_value value;
    if (mp_read(reader, &value) < 0) return false;
    if (value.kind == MP_MAP && depth < LIMIT_SHAPE_DEPTH_MAX) {
        size_t size = put->text->size;
        int fields = put->fields, done = put_record(put, reader, value.count, depth);
        if (done != 0) return done > 0;
        put->text->size = size;
        put->fields = fields;
    }
    if (value.kind == MP_MAP || value.kind == MP_LIST) {
        *reader = begin;
        return put_together(put, reader, depth);
    }
    buf_put_text(put->text, kind_name(scalar_kind(&value)));
    return true;
}

bool shape_put(struct buf *text, struct slice value)
{
    struct mp_reader reader = mp_reader_of(value);
    struct put put = {.text = text};
    size_t size = text->size;
    if (put_value(&put, &reader, 0)) return true;
    text->size = size;
    return false;
}

bool shape_put_fields(struct slice value, void (*each)(void *user, struct slice text), void *user)
{
    struct mp_reader reader = mp_reader_of(value);
    struct mp_value map, key, inside;
    char text[LIMIT_NAME_SIZE_MAX + 16];
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP) return false;
    for (uint32_t at = 0; at < map.count; at++) {
        if (mp_read(&reader, &key) < 0 || key.kind != MP_TEXT) return false;
        struct mp_reader begin = reader;
        if (mp_read(&reader, &inside) < 0) return false;
        unsigned int kind = scalar_kind(&inside);
        if (kind == SHAPE_MAP && has_names(reader, inside.count)) kind = SHAPE_RECORD;
        reader = begin;
        if (mp_skip(&reader) < 0) return false;
        if (!text_is_name(key.text)) continue;
        const char *name = kind_name(kind);
        size_t size = strlen(name);
        memcpy(text, key.text.data, key.text.size);
        text[key.text.size] = ':';
        memcpy(text + key.text.size + 1, name, size);
        each(user, slice_make(text, key.text.size + 1 + size));
    }
    return true;
}

/* --- reading --- */

struct parser {
    const char *at, *end;
    void (*each)(void *user, struct slice path, unsigned int kinds, struct slice kind, bool optional);
    void *user;
    struct buf path;
};

static bool take(struct parser *parser, char byte)
{
    if (parser->at == parser->end || *parser->at != byte) return false;
    parser->at++;
    return true;
}

static struct slice take_name(struct parser *parser)
{
    const char *begin = parser->at;
    while (parser->at < parser->end && ((*parser->at >= 'a' && *parser->at <= 'z') ||
                                        (*parser->at >= '0' && *parser->at <= '9') || *parser->at == '_'))
        parser->at++;
    return slice_make(begin, (size_t)(parser->at - begin));
}

/* The kinds of all alternatives up to the end of this place. False: it is none. */
static bool look(struct parser parser, unsigned int *kinds)
{
    int open = 0;
    bool begins = true; /* an alternative */
    *kinds = 0;
    for (; parser.at < parser.end; parser.at++) {
        char byte = *parser.at;
        if (open == 0 && (byte == ',' || byte == ']' || byte == '}')) break;
        if (open == 0 && begins) {
            bool map = parser.end - parser.at > 1 && byte == '{' && parser.at[1] == '*';
            unsigned int kind = byte == '[' ? SHAPE_LIST : map ? SHAPE_MAP : byte == '{' ? SHAPE_RECORD : 0;
            struct parser word = parser;
            struct slice name = take_name(&word);
            for (int at = 0; at < KINDS && !kind; at++)
                if (slice_is(name, kind_names[at].name)) kind = kind_names[at].kind;
            if (!kind && slice_starts(slice_make(parser.at, (size_t)(parser.end - parser.at)), DEEP))
                kind = SHAPE_DEEP;
            if (!kind) return false;
            *kinds |= kind;
        }
        begins = open == 0 && byte == '|';
        open += (byte == '{' || byte == '[') - (byte == '}' || byte == ']');
    }
    return *kinds && !begins;
}

static void tell(struct parser *parser, unsigned int kinds, bool optional)
{
    char kind[KINDS * 8 + 1];
    size_t size = 0;
    for (int at = 0; at < KINDS; at++) {
        if (!(kinds & kind_names[at].kind)) continue;
        size_t length = strlen(kind_names[at].name);
        if (size) kind[size++] = '|';
        memcpy(kind + size, kind_names[at].name, length);
        size += length;
    }
    if (parser->path.size)
        parser->each(parser->user, buf_slice(&parser->path), kinds, slice_make(kind, size), optional);
}

static bool parse(struct parser *parser, bool optional, int depth);

static bool parse_inside(struct parser *parser, const char *step, int depth)
{
    size_t size = parser->path.size;
    buf_put_text(&parser->path, step);
    bool fine = parse(parser, false, depth + 1);
    parser->path.size = size;
    return fine;
}

static bool parse_fields(struct parser *parser, int depth)
{
    size_t size = parser->path.size;
    if (take(parser, '}')) return true;
    do {
        struct slice name = take_name(parser);
        bool optional = take(parser, '?');
        if (!name.size || !take(parser, ':')) return false;
        if (size) buf_put_byte(&parser->path, '.');
        buf_put_slice(&parser->path, name);
        bool fine = parse(parser, optional, depth + 1);
        parser->path.size = size;
        if (!fine) return false;
    } while (take(parser, ','));
    return take(parser, '}');
}

static bool parse_alternative(struct parser *parser, int depth)
{
    if (take(parser, '['))
        return take(parser, ']') || (parse_inside(parser, "[]", depth) && take(parser, ']'));
    if (take(parser, '{')) {
        if (!take(parser, '*')) return parse_fields(parser, depth);
        return take(parser, ':') && parse_inside(parser, "{}", depth) && take(parser, '}');
    }
    if (take_name(parser).size) return true;
    for (const char *byte = DEEP; *byte; byte++)
        if (!take(parser, *byte)) return false;
    return true;
}

static bool parse(struct parser *parser, bool optional, int depth)
{
    unsigned int kinds;
    if (depth > LIMIT_SHAPE_DEPTH_MAX + 1 || !look(*parser, &kinds)) return false;
    tell(parser, kinds, optional);
    do {
        if (!parse_alternative(parser, depth)) return false;
    } while (take(parser, '|'));
    return true;
}

bool shape_each(struct slice text,
                void (*each)(void *user, struct slice path, unsigned int kinds, struct slice kind,
                             bool optional),
                void *user)
{
    struct parser parser = {.at = text.data, .end = text.data + text.size, .each = each, .user = user};
    bool is_field =
        text.size && text.data[0] >= 'a' && text.data[0] <= 'z' && memchr(text.data, ':', text.size);
    if (is_field) {
        struct slice name = take_name(&parser);
        buf_put_slice(&parser.path, name);
        if (!take(&parser, ':')) parser.end = parser.at = text.data;
    }
    bool fine = parser.end > parser.at && parse(&parser, false, 0) && parser.at == parser.end;
    buf_release(&parser.path);
    return fine;
}

bool shape_is_below(struct slice path, struct slice parent)
{
    return parent.size && path.size > parent.size && memcmp(path.data, parent.data, parent.size) == 0 &&
           strchr(".[{", path.data[parent.size]);
}
