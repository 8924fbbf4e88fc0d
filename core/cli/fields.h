/* fields.h: reading JSON answers: an object as MessagePack and its members by name.
 *
 *     struct fields fields = {0};
 *     if (fields_read(&fields, line, &fault) < 0) ...
 *     struct slice name = fields_text(&fields, "name");
 *     fields_release(&fields);
 */
#ifndef LORE_CLI_FIELDS_H
#define LORE_CLI_FIELDS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"

struct fields {
    struct buf bytes; /* MessagePack of the object */
};

int fields_read(struct fields *fields, struct slice json, struct fault *fault);
void fields_release(struct fields *fields);
/* Empty if the member is absent or no text; borrowed. */
struct slice fields_text(const struct fields *fields, const char *name);
/* What fields_next gave as a text; empty if it is none. Borrowed. */
struct slice fields_as_text(const struct fields *item);
/* 0 if it is absent or no number. */
int64_t fields_int(const struct fields *fields, const char *name);
double fields_number(const struct fields *fields, const char *name);
bool fields_has(const struct fields *fields, const char *name);
/* The member as MessagePack, null included; false if it is absent. Borrowed. */
bool fields_member(const struct fields *fields, const char *name, struct slice *bytes);
bool fields_flag(const struct fields *fields, const char *name); /* it is true */
/* The member as compact JSON appended to out; nothing if it is absent. */
void fields_json(const struct fields *fields, const char *name, struct buf *out);
/* The member as JSON over several lines, indented by two blanks, appended to out. */
void fields_pretty(const struct fields *fields, const char *name, struct buf *out);
/* The members of an object member, to be read as fields; false if it is none. Borrowed from fields: not to be
 * released. */
bool fields_object(const struct fields *fields, const char *name, struct fields *object);
/* The items of a list member, one after another: start with *at = NULL. Borrowed likewise. */
bool fields_next(const struct fields *fields, const char *name, const uint8_t **at, struct fields *item);

#endif
