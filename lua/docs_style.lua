-- docs_style.lua: the stylesheet of the site: one file, light or dark as the reader likes, from a phone's width up.
local graphs = require "lore.graph"

return graphs.colours .. graphs.style .. [[
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:4rem}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;
overflow-wrap:break-word}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
header{position:sticky;top:0;z-index:1;background:var(--paper);border-bottom:1px solid var(--line)}
header nav{max-width:64rem;margin:0 auto;padding:.6rem 1rem;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;align-items:baseline}
header .home{font-weight:650;color:var(--ink);margin-right:auto}
header [aria-current]{color:var(--ink);font-weight:600}
main,footer{max-width:64rem;margin:0 auto;padding:0 1rem}
main{padding-top:.5rem;padding-bottom:3rem}
footer{color:var(--faint);font-size:.85rem;padding-bottom:2rem}
h1{font-size:1.9rem;line-height:1.2;margin:1.4rem 0 .4rem}
h2{font-size:1.3rem;margin:2.6rem 0 .6rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
h3{font-size:1.05rem;margin:0 0 .3rem}
.sentence::first-letter{text-transform:uppercase}
h1,h2,h3{overflow-wrap:anywhere}
p{margin:.4rem 0}ul{margin:.4rem 0;padding-left:1.2rem}
.lead{font-size:1.08rem;color:var(--faint);max-width:46rem}
.crumb{color:var(--faint);margin:1.2rem 0 -.9rem;font-size:.9rem}
code,pre,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.88em}
code{background:var(--code);border-radius:.25rem;padding:.08em .3em;overflow-wrap:anywhere}
pre{background:var(--code);border:1px solid var(--line);border-radius:.4rem;padding:.7rem .9rem;overflow-x:auto;margin:.5rem 0}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:.9rem;margin:1rem 0}
.card{border:1px solid var(--line);border-radius:.5rem;padding:.85rem 1rem;margin:.8rem 0;min-width:0}
.grid .card{margin:0}
.card:target,tr:target,.behaviour:target{outline:2px solid var(--accent);outline-offset:2px}
.card>.place{float:right;margin-left:.8rem}
.place{font-size:.8rem;color:var(--faint);white-space:nowrap}
.tag{font-size:.72rem;font-weight:600;border-radius:1rem;padding:.1rem .55rem;margin-left:.35rem;color:var(--ink);background:var(--shade);
border:1px solid var(--line);vertical-align:.12em;white-space:nowrap}
.tag.event{color:var(--event);border-color:currentColor;background:none}.tag.command{color:var(--command);border-color:currentColor;
background:none}
.tag.aggregate{background:var(--aggregate)}.tag.projection{background:var(--projection)}.tag.receptor{background:var(--receptor)}
.tag.service{background:var(--service)}.tag.task{background:var(--task)}.tag.import{background:var(--import)}
.tag.bad{color:var(--bad);border-color:currentColor;background:none}
.group{margin:1.6rem 0 .4rem;color:var(--faint);max-width:46rem}.group p{margin:.1rem 0}
table{border-collapse:collapse;width:100%;margin:.6rem 0;font-size:.93rem}
th{white-space:nowrap;font-weight:600;text-align:left;color:var(--faint);font-size:.8rem}
th,td{padding:.3rem .8rem .3rem 0;vertical-align:top;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
dl.facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.25rem 1rem;margin:.7rem 0 0;font-size:.93rem}
dl.facts dt{color:var(--faint)}dl.facts dd{margin:0;overflow-wrap:anywhere}
.picture{overflow-x:auto;border:1px solid var(--line);border-radius:.5rem;padding:.6rem;margin:1rem 0;
width:max-content;min-width:100%;max-width:calc(100vw - 2rem);position:relative;left:50%;transform:translateX(-50%)}
.picture .hint{display:none;position:sticky;left:0;margin:0 0 .3rem;font-size:.82rem;color:var(--faint)}
.picture svg{display:block;max-width:100%;height:auto;margin:0 auto}
.legend{font-size:.82rem;color:var(--faint)}.legend .tag{margin-left:0;margin-right:.25rem}.legend .e{color:var(--event)}
.legend .c{color:var(--command)}
.behaviour{border-left:3px solid var(--good);padding:.1rem 0 .1rem .9rem;margin:1.2rem 0}
.behaviour pre{white-space:pre-wrap;overflow-wrap:anywhere}
.behaviour.bad{border-color:var(--bad)}.behaviour.open{border-color:var(--faint)}
.steps{display:grid;grid-template-columns:3.6rem minmax(0,1fr);gap:.1rem .5rem;margin:.35rem 0 .6rem}
.steps dt{font-weight:600;color:var(--faint)}.steps dd{margin:0}.steps p{margin:0}
.v{font-weight:500;background:var(--code);border-radius:.2rem;padding:0 .18em}
td p{margin:0}
.fields,.handlers{table-layout:fixed}.fields th:nth-child(1){width:28%}.fields th:nth-child(2){width:44%}
.handlers th:nth-child(1){width:25%}.handlers th:nth-child(2){width:30%}.handlers td:last-child{text-align:right;padding-right:0}
.toc{columns:17rem;font-size:.93rem;padding:0;list-style:none;margin:.6rem 0}.toc li{break-inside:avoid}
.toc .mark{color:var(--good)}.toc .mark.bad{color:var(--bad)}
.filter{font:inherit;width:100%;max-width:24rem;padding:.4rem .7rem;border:1px solid var(--line);border-radius:.4rem;
background:var(--paper);
color:var(--ink);margin:.6rem 0}
.source{padding:.7rem 0;line-height:1.5;font-size:.85rem}
.source span.l{display:block;padding:0 .9rem 0 0;white-space:pre;min-height:1.5em}
.source span.l:target{background:var(--aggregate)}
.source .n{display:inline-block;width:3.4rem;padding-right:1rem;text-align:right;color:var(--faint);user-select:none}
.source .com{color:var(--good)}.source .str{color:var(--event)}.source .key{color:var(--accent)}.source a.msg{color:inherit;
text-decoration:underline dotted}
@media (max-width:40rem){
h1{font-size:1.55rem}h2{font-size:1.2rem}
header{position:static}header .home{flex-basis:100%}html{scroll-padding-top:1rem}
dl.facts{grid-template-columns:1fr;gap:0}dl.facts dt{margin-top:.35rem}
.card>.place{float:none;display:block;margin:0 0 .3rem}
table.wide thead{display:none}.handlers td:last-child{text-align:left}
table.wide tr{display:block;padding:.5rem 0;border-bottom:1px solid var(--line)}
table.wide td{display:block;border:0;padding:.05rem 0}table.wide td[data-name]:not(:empty)::before{content:attr(data-name) " ";
color:var(--faint)}
.fields thead{display:none}.fields tr{display:block;padding:.3rem 0;border-bottom:1px solid var(--line)}
.fields td{display:inline-block;max-width:100%;border:0;padding:0 .5rem 0 0}.fields code{font-size:.82em}
.picture.wide .hint{display:block}
.steps{grid-template-columns:1fr}.steps dt{margin-top:.3rem}
.source .n{width:2.6rem;padding-right:.6rem}
}
@media print{header{position:static}.filter{display:none}}
]]
