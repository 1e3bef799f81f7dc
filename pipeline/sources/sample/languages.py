"""Original paragraphs in five languages other than English, for the language filter to find."""

from pipeline.sources.sample.records import Document, plain

_TEXTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "de",
        "Das Wasserkraftwerk am Fluss",
        (
            "Das alte Wasserkraftwerk am Rande der Stadt wurde vor mehr als hundert Jahren gebaut und liefert noch "
            "heute Strom für einige tausend Haushalte. Durch ein mächtiges Druckrohr stürzt das Wasser aus dem "
            "Stausee achtzig Meter in die Tiefe und treibt dort zwei Turbinen an, die Tag und Nacht laufen.",
            "Wer die Anlage besichtigen möchte, muss sich einige Wochen vorher anmelden, denn die Führungen sind "
            "beliebt und die Gruppen klein. Ein ehemaliger Maschinist erklärt den Besuchern, wie früher jedes Ventil "
            "von Hand geöffnet wurde und warum man den Klang einer gesunden Turbine nie wieder vergisst.",
            "In den kommenden Jahren soll das Gebäude behutsam erneuert werden. Die Gemeinde will die Fischtreppe "
            "erweitern, damit Forellen und Lachse wieder ungehindert flussaufwärts ziehen können, und zugleich die "
            "Fassade aus rotem Backstein erhalten, die längst zu einem Wahrzeichen der Gegend geworden ist.",
        ),
    ),
    (
        "de",
        "Bäckereien backen wieder nachts",
        (
            "Nach langen Verhandlungen haben sich die Bäckereien der Region darauf geeinigt, ihre Öfen wieder in der "
            "Nacht anzuheizen. Der Strom ist dann günstiger, und die Kundschaft findet schon um sechs Uhr morgens "
            "frische Brötchen in den Regalen. Für die Angestellten bedeutet das allerdings eine große Umstellung.",
            "„Wir haben lange überlegt, ob wir unseren Leuten das zumuten können“, sagte eine Meisterin am Dienstag. "
            "Am Ende hätten höhere Zuschläge und eine freie Woche zusätzlich den Ausschlag gegeben. Kritiker warnen "
            "dennoch vor den Folgen für die Gesundheit, denn wer nachts arbeitet, schläft am Tag oft schlecht.",
            "Ob sich das Modell durchsetzt, wird sich im Frühjahr zeigen. Dann wollen die Betriebe gemeinsam "
            "auswerten, wie viel Energie sie gespart haben, und entscheiden, ob auch die kleinen Läden auf dem Land "
            "mitmachen sollen.",
        ),
    ),
    (
        "de",
        "Briefe aus dem Leuchtturm",
        (
            "Liebe Schwester, der Sturm hat drei Tage gedauert, und erst heute Morgen konnte ich wieder vor die Tür "
            "treten. Das Meer liegt jetzt so still da, als wäre nichts geschehen, nur der Zaun um den Garten ist fort "
            "und mit ihm die letzten Kohlköpfe, auf die ich mich so gefreut hatte.",
            "Du fragst, ob ich mich hier oben nicht einsam fühle. Manchmal gewiss, besonders an den langen Abenden im "
            "November, wenn das Licht sich dreht und kein Schiff zu sehen ist. Aber dann koche ich Tee, nehme eines "
            "der Bücher, die du mir geschickt hast, und bald ist mir, als säße jemand neben mir und läse mit.",
            "Im Frühling kommt das Boot wieder jede Woche. Bring die Kinder mit, wenn du kannst; sie sollen sehen, "
            "wie die Vögel zurückkehren, und ich will ihnen zeigen, wie man aus Treibholz eine Flöte schnitzt. Bis "
            "dahin grüße ich euch alle herzlich und bleibe dein alter Bruder.",
        ),
    ),
    (
        "fr",
        "Le marché couvert",
        (
            "Le marché couvert se trouve au cœur de la vieille ville, entre la cathédrale et les quais. Construit "
            "en fonte et en verre à la fin du dix-neuvième siècle, il abrite une soixantaine d'étals où l'on vend des "
            "légumes, du poisson, des fromages et des fleurs. Chaque samedi, les habitants s'y pressent dès l'aube.",
            "Pendant longtemps, le bâtiment a été menacé de démolition, car la municipalité souhaitait élargir la "
            "rue voisine. Une association de riverains s'est alors formée pour le défendre; elle a recueilli des "
            "milliers de signatures et obtenu, après dix ans d'efforts, que l'ensemble soit classé.",
            "Aujourd'hui, la verrière a retrouvé sa clarté d'origine et les allées ont été pavées à neuf. On y donne "
            "aussi des concerts en été, quand les marchands ont plié leurs bâches et que la fraîcheur du soir descend "
            "enfin sur les toits.",
        ),
    ),
    (
        "fr",
        "La bibliothèque rouvre ses portes",
        (
            "Fermée depuis deux ans pour des travaux, la bibliothèque municipale a rouvert ses portes samedi matin "
            "devant une foule de lecteurs impatients. Les salles ont été agrandies, les fenêtres remplacées, et un "
            "jardin intérieur permet désormais de lire au soleil dès que le temps s'y prête.",
            "« Nous voulions un lieu où l'on vienne sans raison précise », a expliqué la directrice. Les collections "
            "comptent près de deux cent mille ouvrages, auxquels s'ajoutent des films, des partitions et même des "
            "outils de bricolage que l'on peut emprunter pendant trois semaines.",
            "Le chantier a coûté un peu plus cher que prévu, mais les élus assurent que les impôts n'augmenteront "
            "pas. L'entrée reste gratuite pour tous, et les horaires ont été élargis: on pourra désormais y travailler "
            "jusqu'à dix heures du soir pendant les périodes d'examens.",
        ),
    ),
    (
        "es",
        "El faro de la isla",
        (
            "El faro de la isla fue encendido por primera vez en el invierno de 1862, después de que varios barcos "
            "se perdieran entre las rocas. La torre, de piedra blanca, mide treinta y cuatro metros, y desde su "
            "balcón se puede ver la costa entera cuando el cielo está despejado.",
            "Durante más de un siglo vivieron allí los fareros con sus familias. Cultivaban un pequeño huerto, "
            "criaban gallinas y esperaban cada quince días la barca que les traía el correo, la harina y las "
            "noticias. Los niños aprendían a leer con los diarios atrasados que los marineros les regalaban.",
            "Hoy la luz funciona de manera automática y nadie duerme ya en la casa. Sin embargo, los vecinos del "
            "puerto la mantienen limpia, y cada verano organizan una fiesta en la que los más viejos cuentan cómo era "
            "la vida cuando el mar mandaba sobre todas las cosas.",
        ),
    ),
    (
        "es",
        "Los agricultores estrenan un canal",
        (
            "Los agricultores del valle estrenaron esta semana un canal de riego que llevaban más de veinte años "
            "esperando. La obra, de once kilómetros, conduce el agua desde el embalse hasta los campos de naranjos "
            "y permitirá, según los ingenieros, ahorrar casi un tercio de lo que antes se perdía por el camino.",
            "«Mi padre empezó a pedirlo cuando yo iba a la escuela», recordó una de las regantes durante la "
            "inauguración. El proyecto se detuvo tres veces por falta de dinero, y solo salió adelante cuando los "
            "pueblos vecinos aceptaron repartir los gastos entre todos.",
            "Las autoridades anunciaron además que las compuertas se abrirán desde el teléfono, de modo que nadie "
            "tendrá que levantarse de madrugada para regar. Queda por resolver, eso sí, quién pagará el mantenimiento "
            "cuando termine la garantía dentro de cinco años.",
        ),
    ),
    (
        "ja",
        "山あいの小さな発電所",
        (
            "山あいの村に、百年ほど前に建てられた小さな水力発電所がある。谷川から引いた水は長い鉄の管を通って一気に流れ落ち、"
            "古い水車を回して電気を生み出す。建物は木と石で造られており、屋根には今も当時の瓦が残っている。村の人々は親しみを"
            "込めて「水の家」と呼び、毎年秋になると周りの草を刈り、窓を磨いて、冬の準備をするのが習わしである。",
            "かつてこの発電所は、村の製糸工場に電気を送るために造られた。工場が閉まったあとも、住民たちは自分たちの手で機械を"
            "直しながら使い続けてきた。部品が手に入らなくなると、隣町の鍛冶屋に頼んで同じものを作ってもらったという。大きな"
            "台風が来た年には、水門が壊れて一か月も電気が止まったが、若者たちが力を合わせて直し、祭りの夜には再び明かりがともった。",
            "現在、ここで作られる電気は学校と公民館で使われている。見学に訪れる人も少しずつ増え、週末には子どもたちが水の力に"
            "ついて学ぶ教室も開かれる。案内役を務める八十歳の男性は、「水は高いところから低いところへ流れるだけだが、その間に"
            "人の役に立ってくれる」と笑顔で話す。村では今後、古い道具を集めた小さな展示室を造り、発電所の歴史を次の世代に伝えて"
            "いくことにしている。",
            "夏の夜には、川のほとりに椅子を並べて音楽を聴く集まりも開かれる。遠くから来た客は、虫の声と水の音が重なり合うのを聞いて、"
            "街では味わえない静けさだと口をそろえる。灯りはもちろん、すぐそばの水車が送り出す電気である。",
        ),
    ),
    (
        "ja",
        "港町の朝市に若い店主が増える",
        (
            "港町で三百年続く朝市に、若い店主の姿が目立つようになった。市によると、この二年間で新しく店を出した人のうち、半数"
            "以上が三十代以下だという。魚や野菜だけでなく、焼きたてのパンや手作りの器を並べる店も増え、日曜日の朝には遠くの町から"
            "家族連れが訪れる。長く店を続けてきた女性は、「にぎやかな声が戻ってきて、昔を思い出します」とうれしそうに語った。",
            "きっかけは、空いた場所を安く貸し出す制度だった。初めの一年は家賃がかからず、先輩の店主から仕入れや接客のこつを教わる"
            "こともできる。都会の会社を辞めて移り住んだ男性は、祖父の船で取れた魚を使った汁物を売り出し、寒い朝には行列ができるほど"
            "の人気になった。一方で、雨の日は客が少なく、収入が安定しないという悩みもある。",
            "市は来年の春までに屋根のある通路を造り、天気が悪い日でも安心して買い物ができるようにする計画だ。また、海外からの旅行者"
            "のために、品物の名前を何か国語かで書いた札も用意するという。関係者は、昔ながらの雰囲気を守りながら、新しい工夫を取り入れて"
            "いきたいと話している。朝市は年末年始を除いて毎日開かれ、午前五時から正午まで楽しむことができる。",
            "来月の初めには、地元の高校生が考えた献立を売る特別な催しも予定されている。生徒たちは漁師や農家の話を聞きながら、捨てられて"
            "いた小魚や形の悪い野菜をおいしく食べる方法を研究してきた。売り上げの一部は、海岸の掃除に使われることになっている。",
        ),
    ),
    (
        "ru",
        "Старая водяная мельница",
        (
            "Старая водяная мельница стоит на излучине реки, в двух верстах от деревни. Её построили ещё прадеды "
            "нынешних жителей, и долгие годы сюда съезжались крестьяне со всей округи, чтобы смолоть зерно и узнать "
            "новости. Зимой у ворот собиралось до полусотни саней, и хозяин угощал гостей горячим чаем.",
            "После войны мельница пришла в упадок: плотину размыло, колесо сгнило, а жернова увезли в город. Только "
            "через тридцать лет молодой учитель вместе со своими учениками начал понемногу восстанавливать постройку. "
            "Они расчистили русло, нашли старые чертежи и заново срубили стены из сосны.",
            "Теперь колесо снова вращается, и по воскресеньям здесь мелют муку, из которой пекут хлеб по старинным "
            "рецептам. Приезжие удивляются, как тихо работает механизм, а дети могут сами засыпать зерно и увидеть, "
            "как оно превращается в тёплую белую муку.",
        ),
    ),
    (
        "ru",
        "В городе открылся новый трамвайный маршрут",
        (
            "В городе открылся новый трамвайный маршрут, который связал вокзал с университетом и северными районами. "
            "Первые вагоны вышли на линию в понедельник утром, и уже к полудню ими воспользовались несколько тысяч "
            "пассажиров. Дорога, которая раньше занимала почти час, теперь длится не больше двадцати пяти минут.",
            "По словам главного инженера, рельсы уложили на особую подушку, поэтому шум почти не слышен даже в домах "
            "у самой дороги. Вдоль путей посадили липы и клёны, а на остановках появились скамейки и навесы, которые "
            "защищают людей от дождя и ветра.",
            "Жители просят власти не останавливаться на этом и продлить линию до нового жилого квартала. В мэрии "
            "обещают изучить предложение осенью, когда станет ясно, сколько человек ездит по маршруту каждый день и "
            "хватает ли вагонов в часы пик.",
        ),
    ),
)

DOCUMENTS: tuple[Document, ...] = tuple(
    plain(title, paragraphs, language=language) for language, title, paragraphs in _TEXTS
)
