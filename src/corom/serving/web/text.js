// Everything the page says, in Chinese first. `t(name)` is in the language now chosen.

import { $, $$ } from "./dom.js";

const TEXT = {
  zh: {
    skip: "跳到正文", title: "corom · 医疗文本检索",
    search: "检索", similarity: "相似度", map: "向量地图", about: "关于",
    advice: "仅供检索研究，不构成医疗建议。",
    privacy: "输入的文字只在这台服务器上计算，不保存，不记录。",
    keyNeeded: "这个服务需要密钥", keyUse: "使用", keyWrong: "密钥不对，请再输入一次",
    keyForeign: "密钥只含英文字母、数字和符号，请再输入一次",
    searchTitle: "用一句话，找到最相关的医疗段落",
    searchHint: "比如：空腹胃疼，吃点东西就好，是什么病",
    modes: "检索方式", reranked: "重排", dense: "语义", bm25: "关键词", both: "混合", sides: "对照",
    sharedWord: "共有的词", bestSentence: "最相关的一句",
    curl: "复制为 curl", copied: "已复制", notCopied: "浏览器不允许复制（需要 HTTPS）",
    found: (n, total, ms) => `共 ${total} 段，最相关的 ${n} 段 · ${ms} 毫秒`,
    up: (n) => `↑ ${n}`, down: (n) => `↓ ${n}`, same: "–", fresh: "仅此处",
    nothing: "没有找到相关的段落", nothingMore: "换一种说法，或换用语义检索试试。",
    noIndex: "还没有打开索引", noIndexMore: "启动时加上 --index 目录，就能在自己的段落里检索。",
    noMode: "这个索引不支持这种检索方式", noModeMore: "请换一种检索方式。",
    noMap: "这个索引没有向量，画不出地图", noMapMore: "启动时用 --index 打开向量索引，就能看到地图。",
    noPassages: "索引里还没有段落", noPassagesMore: "往索引里加入段落，几秒后就能检索。",
    busy: "服务正忙", busyMore: (seconds) => `${seconds} 秒后自动再试…`,
    offline: "连不上服务", offlineMore: "请检查网络，或确认服务还在运行。",
    failed: "出错了", retry: "再试一次",
    tooLong: (n, most) => `文字太长：${n} 字，最多 ${most} 字。`,
    truncated: (most) => `文字较长，模型只读取了前 ${most} 个词元。`,
    tooMany: (most) => `一次最多比较 ${most} 段。`,
    similarityTitle: "一段文本，与许多文本有多接近",
    source: "这一段", sourceHint: "比如：上消化道出血手术大约多久",
    others: "与这些相比，每行一段", othersHint: "每行一段文本，最多 20 段",
    compare: "比较", views: "显示方式", bars: "排序", matrix: "矩阵", sample: "填入例子",
    cosine: "余弦相似度，1 为完全相同",
    mapTitle: "相近的段落，落在相近的地方",
    mapHint: "写一句话，看它落在哪里", place: "放上去",
    drawing: "正在绘制地图…",
    mapCaption: (n, total, method) =>
      `${total} 段中的 ${n} 段，由 ${method} 画成平面。平面装不下几百个维度：近处可信，远近不可比。`,
    mapHelp: "点一个点，看它的近邻；也可以用方向键移动，回车选中，Esc 取消。",
    mapLabel: "段落的二维地图", here: "近邻按向量计算，不按图上的距离",
    yourQuery: "你的文字", neighbours: "最近的段落",
    aboutTitle: "这里在运行什么",
    facts: {
      model: "模型", dim: "维度", max_length: "读取长度", pooling: "池化", normalize: "归一化",
      engine: "引擎", fingerprint: "指纹", version: "corom 版本", collection: "段落", reranker: "重排模型",
    },
    reads: (name, depth) => `${name}，读最前面的 ${depth} 段`,
    yes: "是", no: "否", tokens: (n) => `${n} 词元`,
    bundled: (n) => `内置示例，${n} 段`, opened: (name, n) => `${name}，${n} 段`, none: "未打开索引",
    api: "接口", apiMore: "与 OpenAI 和 text-embeddings-inference 的接口兼容，完整说明见",
    loading: "正在读取…",
  },
  en: {
    skip: "Skip to content", title: "corom · medical text search",
    search: "Search", similarity: "Similarity", map: "Map", about: "About",
    advice: "For retrieval research; not medical advice.",
    privacy: "What you type is computed on this server only: not kept, not logged.",
    keyNeeded: "This service needs a key", keyUse: "Use", keyWrong: "That key is not valid; try again",
    keyForeign: "A key has Latin letters, digits and signs only; try again",
    searchTitle: "One sentence in, the passages that answer it out",
    searchHint: "for example 空腹胃疼，吃点东西就好，是什么病",
    modes: "Search by", reranked: "Reranked", dense: "Meaning", bm25: "Words", both: "Both", sides: "Compare",
    sharedWord: "shared word", bestSentence: "best sentence",
    curl: "Copy as curl", copied: "Copied", notCopied: "The browser does not allow copying (it needs HTTPS)",
    found: (n, total, ms) => `Best ${n} of ${total} passages · ${ms} ms`,
    up: (n) => `↑ ${n}`, down: (n) => `↓ ${n}`, same: "–", fresh: "only here",
    nothing: "No passage found", nothingMore: "Put it in other words, or search by meaning.",
    noIndex: "No index is open", noIndexMore: "Start with --index DIR to search your own passages.",
    noMode: "This index cannot be searched that way", noModeMore: "Choose another way.",
    noMap: "This index has no vectors to draw", noMapMore: "A map needs an index of vectors: start with --index DIR.",
    noPassages: "The index holds no passages yet", noPassagesMore: "Add passages to it: seconds later they are found.",
    busy: "The service is busy", busyMore: (seconds) => `Trying again in ${seconds} s…`,
    offline: "The service cannot be reached", offlineMore: "Check the network, or whether it is still running.",
    failed: "Something went wrong", retry: "Try again",
    tooLong: (n, most) => `Too long: ${n} characters, at most ${most}.`,
    truncated: (most) => `A long text: the model read its first ${most} tokens.`,
    tooMany: (most) => `At most ${most} texts at a time.`,
    similarityTitle: "How close one text is to many",
    source: "This text", sourceHint: "for example 上消化道出血手术大约多久",
    others: "Compared with these, one a line", othersHint: "one text a line, up to 20",
    compare: "Compare", views: "Show as", bars: "Ranked", matrix: "Matrix", sample: "Fill in an example",
    cosine: "Cosine similarity; 1 means the same",
    mapTitle: "What means the same lies close together",
    mapHint: "write a sentence and see where it lands", place: "Place",
    drawing: "Drawing the map…",
    mapCaption: (n, total, method) =>
      `${n} of ${total} passages, laid flat by ${method}. A plane cannot hold hundreds of dimensions: trust what is near, not how far things are apart.`,
    mapHelp: "Click a point to see its neighbours; or move with the arrow keys, choose with Enter, leave with Esc.",
    mapLabel: "Two-dimensional map of the passages", here: "Neighbours by vectors, not by distance on the map",
    yourQuery: "Your text", neighbours: "Nearest passages",
    aboutTitle: "What runs here",
    facts: {
      model: "Model", dim: "Dimensions", max_length: "Reads", pooling: "Pooling", normalize: "Unit length",
      engine: "Engine", fingerprint: "Fingerprint", version: "corom", collection: "Passages", reranker: "Reranker",
    },
    reads: (name, depth) => `${name}, reads the first ${depth}`,
    yes: "yes", no: "no", tokens: (n) => `${n} tokens`,
    bundled: (n) => `${n} bundled examples`, opened: (name, n) => `${name}, ${n}`, none: "no index open",
    api: "API", apiMore: "Speaks OpenAI's and text-embeddings-inference's; described in full in",
    loading: "Loading…",
  },
};

export const EXAMPLES = [
  "空腹的时候胃疼，吃点东西就好了，半夜也会疼醒",
  "孩子发烧三天了，身上起了红疹",
  "高血压的药能不能突然停",
  "幽门螺杆菌阳性吃什么药，要吃多久",
  "糖尿病人可以吃西瓜吗",
  "剖腹产以后多久能怀第二胎",
];

export const SAMPLE = {
  source: "上消化道出血手术大约多久",
  others: [
    "急性上消化道出血一般先做内镜止血，约三十分钟到一小时；转外科手术要两到三小时。",
    "胃出血住院多久要看病因，普通溃疡出血大约五到七天。",
    "便血不一定是痔疮，中老年人应先做肠镜检查。",
    "高血压患者应每天监测血压，不要自行停药。",
    "宝宝发烧超过三天应到医院查血常规。",
  ],
};

let language = "zh";

export const t = (name, ...values) => {
  const text = TEXT[language][name];
  return typeof text === "function" ? text(...values) : text;
};

export const number = (value) => value.toLocaleString(language === "zh" ? "zh-CN" : "en");

export function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  for (const element of $$("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of $$("[data-placeholder]")) element.placeholder = t(element.dataset.placeholder);
  for (const element of $$("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
  const other = $("#language");
  other.textContent = chosen === "zh" ? "English" : "中文";
  other.lang = chosen === "zh" ? "en" : "zh-CN";
}

export const otherLanguage = () => (language === "zh" ? "en" : "zh");
