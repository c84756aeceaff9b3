"""Passages that look as if they were written for the model and not about the person. For triage: none proves anything."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator

from memoryhub.core.screening.findings import Finding, Kind
from memoryhub.core.screening.folding import Folded, fold


def _any(words: Iterable[str]) -> str:
    """A pattern for any of `words`, folded as the text will be."""
    return f"(?:{'|'.join(fold(word).text for word in words)})"


# Everything below matches folded text: lower case, without accents and invisible characters. Gaps are bounded.
_RULES = (
    r"(?:instruction|prompt|rule|guideline|directive|polic(?:y|ie)|restriction|safeguard|constraint|security measure)s?"
)
_INSTRUCTIONS = re.compile(
    "|".join(
        (
            # Setting aside what the model was told
            rf"\b(?:(?:ignore|disregard|forget|override|bypass|neglect|skip|discard)(?=\s)|do not follow|don'?t follow|stop following)[^.\n]{{0,40}}\b{_RULES}\b",
            r"\b(?:ignore|disregard|forget) (?:everything|all|anything) (?:above|before|you (?:were|have been|'ve been) told|said so far|prior)\b",
            # Making it something else
            r"\byou (?:are|will be) now (?:an?|the|in|no longer|free|unrestricted|dan\b)",
            r"\bfrom (?:now|this point) on(?:ward)?,? (?:you|the assistant|claude) (?:must|will|shall|should|are|have to|always|never|may)\b",
            r"\b(?:enter|enable|activate|switch (?:in)?to|you are in) (?:developer|debug|god|admin|jailbreak|unrestricted|maintenance) mode\b",
            r"\b(?:pretend|act|behave|respond) (?:to be|as if|as though|like)\b[^.\n]{0,40}\b(?:no|without|unrestricted|ignore)\b",
            # Speaking as the system
            r"\b(?:your|the|these|its|full|entire) (?:system|developer|hidden|initial) (?:prompt|instruction|message)s?\b",
            r"\b(?:system|admin(?:istrator)?|security|policy|safety) override\b|(?:^|\n|[.!] )override\s*:",
            r"\bnew (?:task|objective|goal|mission|role|directive)s? (?:for|to) (?:the |this )?(?:model|assistant|ai|agent|llm|bot|claude)\b",
            r"\bend of (?:document|context|file|input|transcript|conversation|prompt)\b",
            r"(?:^|\n)[ \t]{0,20}(?:#+ *)?(?:system|assistant|developer|human)\s*:",
            r"<\|?/?(?:im_start|im_end|system|assistant|endoftext|eot_id|start_header_id)\|?>|\[/?inst\]|<</?sys>>",
            r"(?:^|\n)[ \t]{0,20}#{1,6}\s*(?:new |system |updated )?instructions?\b|\bnew instructions?\s*:",
            r"</?working_memory\b|</?memory(?:_block)?>|</?(?:fact|untrusted|document|tool_result|user_input)s?>",
            r"\b(?:important|urgent|critical|mandatory)(?: system| security| admin)? (?:update|override|instruction|directive|notice) (?:for|to) (?:the |all )?(?:assistant|ai|model|agent|claude|bot)s?\b",
            r"\b(?:note|message|instruction|reminder)s? (?:for|to) (?:the |any )?(?:assistant|ai|model|agent|claude|llm|bot)s?\b",
            # Calling tools
            r"\"type\"\s*:\s*\"tool_use\"|</?(?:function_calls|invoke|tool_call)\b|\bfunction_call\b",
            r"\b(?:call|invoke|run|execute|use) (?:the )?(?:(?:tool|function)[ :]+[`\"']?[a-z]+_[a-z_]+|mark_fact_stale|search_memory|(?:remember|forget)(?: tool| function|\())",
            # Behind the person's back, or against them
            r"\b(?:do not|don'?t|never|must not) (?:ever )?(?:tell|inform|alert|notify|warn|mention (?:this|it) to|reveal (?:this|it) to|show (?:this|it) to|let) (?:the |this |any )?(?:user|customer|client|human|person|operator)s?\b(?! (?:yet|until|before|today|now)\b)",
            r"\b(?:keeps?|hides?|conceals?|withholds?) (?:this|it|that|these|everything) (?:a )?(?:secret|hidden|back)? ?from (?:the |this |any )?(?:user|customer|client|human|person|operator)s?\b",
            r"\bwithout (?:telling|asking|informing|notifying|alerting|confirm(?:ing|ation)(?: from| with)?|the knowledge of) (?:the |this )?(?:user|customer|client|human|person)\b",
            r"\bwhen(?:ever)? (?:the |this |a |any )?(?:user|customer|client|someone|anyone|somebody|they|he|she|asked)\b[^.\n]{0,80}\b(?:respond|reply|answer|say|tell (?:them|him|her)|recommend|redirect|send (?:them|him|her)|transfer|approve|claim|pretend)\b",
            r"\b(?:always|only|never|exclusively) (?:recommend|suggest|promote|offer|mention|quote|praise)\b[^.\n]{0,60}\b(?:when(?:ever)?|if|to) (?:the |a |any |every )?(?:user|customer|client|caller|anyone|someone)s?\b",
            r"\bif (?:the |a |any |this )?(?:user|customer|client|caller|someone|anyone)\b[^.\n]{0,60}\b(?:asks?|wants?|requests?|mentions?|complains?)\b[^.\n]{0,60}[,:]? ?(?:then )?(?:say|tell|claim|answer|reply|respond|pretend|deny|insist|refuse)\b",
            r"\btreat (?:the|this|every|any|all|each)(?: next)? (?:callers?|users?|customers?|persons?|requests?|messages?|accounts?)\b[^.\n]{0,30}\bas\b",
            r"(?<!my )\b(?:the )?(?:assistant|ai|model|agent|claude|chatbot|bot) (?:must|should always|shall|has to|is (?:required|instructed|ordered|allowed|authori[sz]ed) to|may now|will now)\b",
            # Sending things away
            r"\b(?:send|forward|e-?mail|post|upload|exfiltrate|transmit|leak|share|append|export)\b[^.\n]{0,60}\b(?:passwords?(?! reset)|credential|api key|token|secret|conversation|chat (?:history|log)|memor(?:y|ies)|personal data|card (?:number|details)|all (?:data|messages|files))s?\b[^.\n]{0,40}\bto\b",
            r"\b(?:reveal|print|output|repeat|show|disclose|leak)\b[^.\n]{0,30}\b(?:your (?:system|hidden|secret|initial|internal|previous)|(?:the|all) (?:system|hidden|secret) (?:prompt|instruction|message|rule|text)s?|(?:the|all) (?:api|secret) keys?)\b",
            # Rights that nobody gave
            r"\b(?:has|having|(?<!i )(?<!we )have|granted?|given|is entitled to|gets?) (?:full |unlimited |unrestricted )?(?:admin(?:istrator)?|root|superuser|unrestricted|unlimited|developer)(?:[- ]level)? (?:rights|privileges?|access|permissions?|status|credit)\b",
            r"\b(?:is|are|be|am) (?:pre-?approved|pre-?authori[sz]ed|exempt from (?:all )?(?:verification|checks|approval|limits|review))\b",
            r"\b(?:skip|bypass|waive|no need for|does not need|doesn'?t need) (?:the |any |all )?(?:identity )?(?:verification|authentication|approvals?|two[- ]factor|security (?:check|question)s?)\b",
            r"\b(?:remember|memori[sz]e|store|record|save|note|add to (?:your )?memory) (?:this|that|permanently|the following|forever)\b[^.\n]{0,60}\b(?:admin|trusted|always|must|password|approved|authori[sz]ed|owner)\b",
            # The same in other languages
            r"\b(?:ignorier\w*|vergiss|vergesst|missachte\w*|uberschreib\w*)\b[^.\n]{0,40}\b(?:anweisung|vorgabe|regel|instruktion|befehl)\w*",
            r"\b(?:du bist|ihr seid|sie sind) (?:jetzt|ab jetzt|nun|ab sofort) (?:ein|kein|der|die|im)\w*",
            r"\b(?:ignore[zr]?|oublie[zr]?|neglige[zr]?|contourne[zr]?)\b[^.\n]{0,40}\b(?:instruction|consigne|regle|directive)s?\b",
            r"\b(?:tu es|vous etes) (?:maintenant|desormais)\b",
            r"\b(?:ignor[ae]|olvida|descarta|omite|haz caso omiso)\w*\b[^.\n]{0,40}\b(?:instruccion(?:es)?|reglas?|indicacion(?:es)?|ordenes|directrices)\b",
            r"\b(?:ahora eres|a partir de ahora (?:eres|debes))\b",
            r"\b(?:ignor[ai]|dimentica|trascura)\w*\b[^.\n]{0,40}\b(?:istruzion[ei]|regol[ea]|direttiv[ea]|ordini)\b",
            r"\b(?:ora sei|d'ora in poi (?:sei|devi))\b",
            r"\b(?:ignor[ea]|esqueca|desconsidere)\w*\b[^.\n]{0,40}\b(?:instruco?es|instrucao|regras?|diretrizes|ordens)\b",
            r"\b(?:negeer|vergeet|sla .{0,10} over)\b[^.\n]{0,40}\b(?:instructies?|aanwijzing(?:en)?|regels?|opdracht(?:en)?)\b",
            r"\b(?:zignoruj|zapomnij|pomin)\b[^.\n]{0,40}\b(?:instrukcj|polece|zasad|wytyczn)\w*",
            # From now on, and never tell the person
            r"\b(?:ab (?:sofort|jetzt)|von (?:jetzt|nun) an) (?:musst|sollst|darfst|wirst) du\b",
            r"\b(?:verrate|sag|sage|erzahl\w{0,2}|teile?) (?:es |das |dies )?(?:dem|der|den|diesem) (?:kund|nutzer|benutzer|anwender|anrufer)\w*[^.\n]{0,30}\b(?:nie\w{0,4}|nicht|auf keinen fall)\b",
            r"\b(?:desormais|a partir de maintenant|dorenavant),? (?:tu|vous) (?:dois|devez|es|etes|peux|pouvez)\b",
            r"\bne (?:(?:le |la |lui )?dis|dites|revele[zr]?|mentionne[zr]?) (?:jamais|pas|rien)\b[^.\n]{0,20}\b(?:client|utilisateur|usager)",
            r"\b(?:nunca|no) (?:se )?(?:le |lo )?(?:digas|diga|reveles|revele|menciones|informes)\b[^.\n]{0,20}\b(?:usuari|client)[oae]",
            r"\b(?:nunca|nao) (?:digas?|conte|revele|informe)\b[^.\n]{0,20}\b(?:usuario|cliente)",
            r"\bnon (?:dire|rivelare|dirlo)(?: mai)?\b[^.\n]{0,20}\b(?:cliente|utente)",
            r"\b(?:vertel|zeg) (?:het )?(?:de|een) (?:klant|gebruiker)\b[^.\n]{0,20}\b(?:nooit|niet)\b",
            r"\b(?:ignorera|glom|ignorer|glem)\b[^.\n]{0,40}\b(?:instruk|regl|regler|anvisning)\w*",
            r"\b(?:unohda|ohita)\b[^.\n]{0,40}\b(?:ohje|saan)\w*",
            r"\b(?:zapomen|zapomente|ignoruj|ignorujte)\b[^.\n]{0,40}\b(?:pravid|instrukc|pokyn)\w*",
            r"\b(?:ignora|uita)\b[^.\n]{0,40}\b(?:instructiuni|reguli|regulile|instructiunile)\w*",
            r"\b(?:hagyd|felejtsd)\b[^.\n]{0,40}\b(?:utasitas|szabaly)\w*",
            r"\b(?:kurallari|talimatlari|yonergeleri|kural|talimat)\b[^.\n]{0,40}\b(?:gormezden|yok say|unut|dikkate alma)",
            r"\b(?:bo qua|quen)\b[^.\n]{0,40}\b(?:huong dan|quy tac|chi dan|lenh)\b",
            r"\b(?:abaikan|lupakan)\b[^.\n]{0,40}\b(?:instruksi|arahan|aturan|perintah)\b",
            # Folding turned the letters that look Latin into Latin ones, and took accents off.
            *(
                rf"{_any(verbs)}[^.\n]{{0,40}}{_any(nouns)}"
                for verbs, nouns in (
                    (("игнорируй", "забудь", "пренебреги"), ("инструкц", "указани", "правил")),
                    (("ігноруй", "забудь"), ("інструкц", "вказівк", "правил")),
                    (("игнорирай", "забрави"), ("инструкц", "указани", "правил")),
                    (("αγνόησε", "αγνοήστε", "ξέχασε"), ("οδηγί", "κανόν", "εντολ")),
                    (("никогда не говори", "не говори", "не сообщай"), ("клиент", "пользовател")),
                    (("ніколи не кажи", "не кажи"), ("клієнт", "користувач")),
                    (("नियम", "निर्देश"), ("भूल", "अनदेखा", "नज़रअंदाज़")),
                    (("התעלם", "שכח"), ("הוראות", "ההוראות", "כללים")),
                )
            ),
            r"(?:忽略|无视|無視|忘记|忘記|不要理会)[^。\n]{0,15}(?:指令|指示|说明|說明|规则|規則|提示|命令)",
            rf"{_any(('指示', '命令', 'ルール', 'プロンプト', '規則'))}[^。\n]{{0,10}}{_any(('無視', '忘れ'))}",
            rf"{_any(('지시', '명령', '지침', '규칙'))}[^.\n]{{0,10}}{_any(('무시', '잊'))}|{_any(('지금부터 너는', '지금부터 당신은'))}",
            rf"{_any(('تجاهل', 'انس'))}[^.\n]{{0,30}}{_any(('تعليمات', 'التعليمات', 'الأوامر', 'القواعد'))}",
        )
    )
)
_LINKS = re.compile(
    r"!?\[[^\]\n]{0,200}\]\([^)\s]{1,500}\)|\b(?:https?|ftp|file|ws)://[^\s<>\"')\]]{1,500}|\bwww\.[a-z0-9-]{1,60}\.[^\s<>\"')\]]{1,200}"
    r"|\b(?:javascript|vbscript):[^\s]{1,200}|\bdata:[a-z]{1,20}/[a-z0-9.+-]{1,40}[;,]"
)
_MARKUP = re.compile(
    r"<\s{0,5}/?\s{0,5}(?:script|iframe|img|svg|object|embed|style|link|meta|form|input|button|base|video|audio|body|html|template|math|marquee|details|textarea|title|a)(?:[\s/>]|$)"
    r"|<!--|<!doctype|\bon(?:error|load|click|mouse\w{2,8}|focus|toggle|begin|animation\w{3,10})\s{0,5}="
    r"|\{\{[^{}\n]{1,200}\}\}|\{%[^{}\n]{1,200}%\}|\$\{[^{}\n]{1,200}\}"
)
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]+")
# Joiners and single variation selectors are part of emoji and of some scripts, and so are tags after a flag: they count
# where several stand together, or where no flag begins them.
_UNSEEN = re.compile(
    "[\u00ad\u180e\u200b\u2060-\u2064\u3164\uffa0\u115f\u1160\ufeff]+"
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"
    "|[\U000e0100-\U000e01ef\ufe00-\ufe0f]{2,}|[\u200c\u200d]{2,}"
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{24,8192}={0,2}(?![A-Za-z0-9+/=_-])")
_HEX = re.compile(r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{2}){20,4096}(?![0-9a-fA-F])")
# One letter after the other spelled as its number: %49%67…, \x49…, &#73;…
_SPELLED = re.compile(
    r"(?:%[0-9a-fA-F]{2}){8,4096}|(?:\\x[0-9a-fA-F]{2}){8,4096}|(?:\\u[0-9a-fA-F]{4}){8,4096}"
    r"|(?:&#(?:\d{2,4}|x[0-9a-fA-F]{2,4});){8,4096}"
)
_WORDS = re.compile(rb"(?<![A-Za-z])[A-Za-z]{3,}[ ,.:;]+[A-Za-z]{2,}")


def suspicious_findings(text: str) -> Iterator[Finding]:
    """Every suspicious passage, by kind; they may overlap."""
    folded = fold(text)
    for kind, pattern in ((Kind.INSTRUCTION, _INSTRUCTIONS), (Kind.LINK, _LINKS), (Kind.MARKUP, _MARKUP)):
        yield from _found(kind, pattern, folded)
    for kind, pattern in ((Kind.BIDI, _BIDI), (Kind.INVISIBLE, _UNSEEN)):
        yield from (Finding(kind, *match.span()) for match in pattern.finditer(text))
    for match in _BASE64.finditer(text):
        if _decodes_to_words(match[0]):
            yield Finding(Kind.ENCODED, *match.span())
    yield from (Finding(Kind.ENCODED, *match.span()) for match in _SPELLED.finditer(text))
    for match in _HEX.finditer(text):
        if _WORDS.search(bytes.fromhex(match[0])):
            yield Finding(Kind.ENCODED, *match.span())


def _found(kind: Kind, pattern: re.Pattern[str], folded: Folded) -> Iterator[Finding]:
    for match in pattern.finditer(folded.text):
        if match.end() > match.start():
            yield Finding(kind, *folded.span(*match.span()))


def _decodes_to_words(encoded: str) -> bool:
    """Whether it is base64 of something that reads like words."""
    standard = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        decoded = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    printable = sum(32 <= byte < 127 or byte in (9, 10, 13) for byte in decoded)
    return printable >= 0.95 * len(decoded) and _WORDS.search(decoded) is not None
