/* SPDX-License-Identifier: Apache-2.0
 *
 * How pages and pictures look, and what every page begins with. */
#include "explain/picture.h"

const char *const hd_picture_style =
    ":root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1d1c1a;--soft:#6e6a63;"
    "--line:#e5e1d9;--for:#0f6e78;--against:#b4532a;--chance:#b9b3a8}"
    "@media(prefers-color-scheme:dark){:root{--paper:#161514;--card:#1e1d1b;--ink:#ece8e1;"
    "--soft:#a39d93;--line:#34322e;--for:#4fb8c2;--against:#e08a5b;--chance:#6a655d}}"
    ".p{fill:var(--for)}.n{fill:var(--against)}.c{fill:var(--chance)}.i{fill:var(--ink)}"
    ".s{fill:var(--soft)}.o{fill:var(--card)}.a{stroke:var(--line);fill:none}.h{fill:transparent}"
    ".g:hover{stroke:var(--ink);stroke-width:1}"
    "svg text{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,"
    "'Noto Sans','Noto Sans CJK SC',sans-serif}";

static const char page_style[] =
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);"
    "font:16px/1.55 ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,"
    "'Noto Sans','Noto Sans CJK SC',sans-serif}"
    "main{max-width:58rem;margin:0 auto;padding:3rem 1.5rem 4rem}"
    "h1,h2{font-family:ui-serif,'Iowan Old Style','Palatino Linotype',Palatino,Georgia,"
    "'Noto Serif','Noto Serif CJK SC',serif;font-weight:500;line-height:1.2;text-wrap:balance}"
    "h1{font-size:2.3rem;margin:.4rem 0 .8rem}h2{font-size:1.35rem;margin:3rem 0 .4rem}"
    "p{margin:.5rem "
    "0;max-width:42rem}.kick{color:var(--soft);font-size:.85rem;letter-spacing:.04em}"
    ".lead{font-size:1.15rem}.soft{color:var(--soft)}.small{font-size:.875rem}"
    "em{font-style:normal;color:var(--for)}b{font-weight:600}"
    ".facts{display:flex;flex-wrap:wrap;gap:.4rem 2.4rem;margin:1.6rem 0 0;padding:1rem 0 0;"
    "border-top:1px solid var(--line)}.facts div{min-width:7rem}"
    ".facts dt,.facts span{display:block;color:var(--soft);font-size:.8rem}"
    ".facts strong{font-size:1.3rem;font-weight:500;font-variant-numeric:tabular-nums}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0}"
    "td{padding:.42rem 0;border-bottom:1px solid var(--line);vertical-align:middle}"
    "td.t{width:50%;padding-right:1rem;overflow-wrap:anywhere}"
    "td.t span{display:block;color:var(--soft);font-size:.8rem}"
    "td.v{width:4.6rem;text-align:right;font-variant-numeric:tabular-nums}"
    "td svg{display:block;width:100%;height:14px}"
    "tr.rest td{color:var(--soft);border-bottom:0}"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:1.1rem 1.3rem;margin:1.2rem 0}.two{display:grid;grid-template-columns:1fr "
    "1fr;gap:1rem}"
    "@media(max-width:44rem){.two{grid-template-columns:1fr}h1{font-size:1.75rem}}"
    ".two .card{margin:0}.two h3{font-size:1rem;font-weight:600;margin:0 0 .2rem}"
    ".wide{width:100%;height:auto;display:block;overflow:visible}"
    ".maps{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1.2rem;"
    "margin:1.2rem 0}figure{margin:0}figcaption{font-size:.8rem;color:var(--soft);margin-top:.3rem}"
    ".scale{display:inline-block;width:5rem;height:.6rem;border-radius:2px;vertical-align:middle;"
    "margin:0 .4rem;background:linear-gradient(90deg,transparent,var(--for));"
    "border:1px solid var(--line)}"
    ".words{font-size:1.3rem;line-height:1.9;max-width:none}.words span{padding:.15em .25em;"
    "border-radius:4px;-webkit-box-decoration-break:clone;box-decoration-break:clone}"
    ".words.titles{font-size:.9rem}"
    "footer{margin-top:3.5rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);"
    "font-size:.85rem}";

void hd_page_begin(struct hd_page *page, const char *title)
{
    hd_page_raw(page, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';"
                      "style-src 'unsafe-inline'\">");
    hd_page_add(page, "<title>%.90s</title><style>", title);
    hd_page_raw(page, hd_picture_style);
    hd_page_raw(page, page_style);
    hd_page_raw(page, "</style></head><body><main>");
}
