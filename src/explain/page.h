/* SPDX-License-Identifier: Apache-2.0
 *
 * Text that grows into a page or a picture. What is put in through %s is somebody else's words and
 * comes out as nothing but words: markup is escaped, bytes that are not UTF-8, control characters
 * and those that turn the direction of writing are replaced or dropped. Numbers never see the
 * locale.
 *
 * A page that ran out of memory stays so; hd_page_write() says it. */
#ifndef HD_PAGE_H
#define HD_PAGE_H

#include "base/status.h"

struct hd_page {
    char *text;
    size_t used, room;
    bool failed;
};

/* As it is: the page's own markup. */
void hd_page_raw(struct hd_page *page, const char *markup);
/* printf's small sister:
 *   %s %.40s        escaped; the precision is the room in columns, with an ellipsis where cut
 *   %d %lld         whole numbers
 *   %f              two decimals, or fewer where those would be zeros: what a drawing needs
 *   %.3f %+.3f      exactly so many decimals; with + a sign to be read, by its true minus */
void hd_page_add(struct hd_page *page, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Columns that the text takes, two for each East Asian wide letter. */
int hd_text_columns(const char *text);
/* Under another name first, then renamed: the old file or the whole new one. */
HEED_CHECKED heed_status hd_page_write(const struct hd_page *page, const char *path);
void hd_page_clear(struct hd_page *page);

#endif
