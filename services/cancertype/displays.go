package cancertype

// DisplayIn returns the name of a type in a language (base tag: "en", "es", "de", "fr") as it stands within a sentence; false
// for a code or language that it does not know. English names begin with a capital, as Display does.
func DisplayIn(language, code string) (string, bool) {
	t, ok := Lookup(code)
	if !ok {
		return "", false
	}
	d := displays[code]
	switch language {
	case "en":
		return t.Display, true
	case "es":
		return d.es, true
	case "de":
		return d.de, true
	case "fr":
		return d.fr, true
	}
	return "", false
}

type display struct{ es, de, fr string }

var displays = map[string]display{
	"any": {"cualquier cáncer", "alle Krebsarten", "tout cancer"},

	"breast":                 {"cáncer de mama", "Brustkrebs", "cancer du sein"},
	"breast-male":            {"cáncer de mama en hombres", "Brustkrebs beim Mann", "cancer du sein chez l'homme"},
	"breast-in-situ":         {"carcinoma ductal o lobulillar in situ", "duktales oder lobuläres Carcinoma in situ", "carcinome canalaire ou lobulaire in situ"},
	"breast-triple-negative": {"cáncer de mama triple negativo", "triple-negativer Brustkrebs", "cancer du sein triple négatif"},
	"breast-inflammatory":    {"cáncer de mama inflamatorio", "inflammatorischer Brustkrebs", "cancer du sein inflammatoire"},

	"haematological":                {"cáncer de la sangre", "Blutkrebs", "cancer du sang"},
	"leukaemia":                     {"leucemia", "Leukämie", "leucémie"},
	"acute-lymphoblastic-leukaemia": {"leucemia linfoblástica aguda", "akute lymphatische Leukämie", "leucémie aiguë lymphoblastique"},
	"chronic-lymphocytic-leukaemia": {"leucemia linfocítica crónica", "chronische lymphatische Leukämie", "leucémie lymphoïde chronique"},
	"hairy-cell-leukaemia":          {"leucemia de células pilosas", "Haarzellleukämie", "leucémie à tricholeucocytes"},
	"acute-myeloid-leukaemia":       {"leucemia mieloide aguda", "akute myeloische Leukämie", "leucémie aiguë myéloïde"},
	"chronic-myeloid-leukaemia":     {"leucemia mieloide crónica", "chronische myeloische Leukämie", "leucémie myéloïde chronique"},
	"lymphoma":                      {"linfoma", "Lymphdrüsenkrebs", "lymphome"},
	"hodgkin-lymphoma":              {"linfoma de Hodgkin", "Hodgkin-Lymphom", "lymphome de Hodgkin"},
	"non-hodgkin-lymphoma":          {"linfoma no Hodgkin", "Non-Hodgkin-Lymphom", "lymphome non hodgkinien"},
	"follicular-lymphoma":           {"linfoma folicular", "follikuläres Lymphom", "lymphome folliculaire"},
	"diffuse-large-b-cell-lymphoma": {"linfoma difuso de células B grandes", "diffus großzelliges B-Zell-Lymphom", "lymphome diffus à grandes cellules B"},
	"mantle-cell-lymphoma":          {"linfoma de células del manto", "Mantelzelllymphom", "lymphome du manteau"},
	"t-cell-lymphoma":               {"linfoma de células T", "T-Zell-Lymphom", "lymphome T"},
	"waldenstrom":                   {"macroglobulinemia de Waldenström", "Morbus Waldenström", "maladie de Waldenström"},
	"myeloma":                       {"mieloma múltiple", "multiples Myelom", "myélome multiple"},
	"myelodysplastic-syndrome":      {"síndrome mielodisplásico", "myelodysplastisches Syndrom", "syndrome myélodysplasique"},
	"myeloproliferative-neoplasm":   {"neoplasia mieloproliferativa", "myeloproliferative Neoplasie", "néoplasme myéloprolifératif"},

	"thoracic":            {"cáncer de tórax", "Krebs im Brustkorb", "cancer du thorax"},
	"lung":                {"cáncer de pulmón", "Lungenkrebs", "cancer du poumon"},
	"lung-non-small-cell": {"cáncer de pulmón no microcítico", "nicht-kleinzelliger Lungenkrebs", "cancer du poumon non à petites cellules"},
	"lung-small-cell":     {"cáncer de pulmón microcítico", "kleinzelliger Lungenkrebs", "cancer du poumon à petites cellules"},
	"mesothelioma":        {"mesotelioma", "Mesotheliom", "mésothéliome"},
	"thymus":              {"timoma y cáncer de timo", "Thymom und Thymuskarzinom", "thymome et cancer du thymus"},

	"digestive":       {"cáncer del aparato digestivo", "Krebs der Verdauungsorgane", "cancer de l'appareil digestif"},
	"oesophageal":     {"cáncer de esófago", "Speiseröhrenkrebs", "cancer de l'œsophage"},
	"stomach":         {"cáncer de estómago", "Magenkrebs", "cancer de l'estomac"},
	"small-intestine": {"cáncer de intestino delgado", "Dünndarmkrebs", "cancer de l'intestin grêle"},
	"colorectal":      {"cáncer colorrectal", "Darmkrebs", "cancer colorectal"},
	"colon":           {"cáncer de colon", "Dickdarmkrebs", "cancer du côlon"},
	"rectal":          {"cáncer de recto", "Enddarmkrebs", "cancer du rectum"},
	"anal":            {"cáncer de ano", "Analkrebs", "cancer de l'anus"},
	"liver":           {"cáncer de hígado", "Leberkrebs", "cancer du foie"},
	"bile-duct":       {"cáncer de vías biliares y vesícula", "Gallengangs- und Gallenblasenkrebs", "cancer des voies et de la vésicule biliaires"},
	"pancreatic":      {"cáncer de páncreas", "Bauchspeicheldrüsenkrebs", "cancer du pancréas"},

	"gynaecological":            {"cáncer ginecológico", "gynäkologischer Krebs", "cancer gynécologique"},
	"cervical":                  {"cáncer de cuello uterino", "Gebärmutterhalskrebs", "cancer du col de l'utérus"},
	"uterine":                   {"cáncer de útero", "Gebärmutterkrebs", "cancer de l'utérus"},
	"ovarian":                   {"cáncer de ovario y trompas", "Eierstock- und Eileiterkrebs", "cancer de l'ovaire et des trompes"},
	"vulvar":                    {"cáncer de vulva", "Vulvakrebs", "cancer de la vulve"},
	"vaginal":                   {"cáncer de vagina", "Scheidenkrebs", "cancer du vagin"},
	"gestational-trophoblastic": {"cáncer trofoblástico gestacional", "gestationsbedingter Trophoblasttumor", "tumeur trophoblastique gestationnelle"},

	"urological":          {"cáncer urológico", "urologischer Krebs", "cancer urologique"},
	"prostate":            {"cáncer de próstata", "Prostatakrebs", "cancer de la prostate"},
	"testicular":          {"cáncer de testículo", "Hodenkrebs", "cancer du testicule"},
	"penile":              {"cáncer de pene", "Peniskrebs", "cancer du pénis"},
	"bladder":             {"cáncer de vejiga", "Blasenkrebs", "cancer de la vessie"},
	"kidney":              {"cáncer de riñón", "Nierenkrebs", "cancer du rein"},
	"wilms":               {"tumor de Wilms", "Wilms-Tumor", "tumeur de Wilms"},
	"renal-pelvis-ureter": {"cáncer de pelvis renal y uréter", "Nierenbecken- und Harnleiterkrebs", "cancer du bassinet et de l'uretère"},

	"head-neck":      {"cáncer de cabeza y cuello", "Kopf-Hals-Krebs", "cancer de la tête et du cou"},
	"oral":           {"cáncer de labio y boca", "Lippen- und Mundhöhlenkrebs", "cancer de la lèvre et de la bouche"},
	"salivary-gland": {"cáncer de glándulas salivales", "Speicheldrüsenkrebs", "cancer des glandes salivaires"},
	"throat":         {"cáncer de garganta", "Rachenkrebs", "cancer de la gorge"},
	"nasal":          {"cáncer de nariz, senos paranasales y oído medio", "Krebs der Nase, der Nebenhöhlen und des Mittelohrs", "cancer du nez, des sinus et de l'oreille moyenne"},
	"larynx":         {"cáncer de laringe", "Kehlkopfkrebs", "cancer du larynx"},

	"skin":        {"cáncer de piel", "Hautkrebs", "cancer de la peau"},
	"melanoma":    {"melanoma", "Melanom", "mélanome"},
	"merkel-cell": {"carcinoma de células de Merkel", "Merkelzellkarzinom", "carcinome à cellules de Merkel"},

	"brain-nervous-system": {"tumor cerebral y del sistema nervioso", "Tumor des Gehirns und des Nervensystems", "tumeur du cerveau et du système nerveux"},
	"glioma":               {"glioma", "Gliom", "gliome"},
	"glioblastoma":         {"glioblastoma", "Glioblastom", "glioblastome"},
	"meningioma":           {"meningioma", "Meningeom", "méningiome"},
	"spinal-cord":          {"tumor de la médula espinal", "Tumor des Rückenmarks", "tumeur de la moelle épinière"},
	"pituitary":            {"tumor de hipófisis", "Hypophysentumor", "tumeur de l'hypophyse"},

	"eye":            {"cáncer de ojo", "Augenkrebs", "cancer de l'œil"},
	"uveal-melanoma": {"melanoma uveal", "Aderhautmelanom", "mélanome de l'uvée"},
	"retinoblastoma": {"retinoblastoma", "Retinoblastom", "rétinoblastome"},

	"endocrine":      {"cáncer de glándulas endocrinas", "Krebs der Hormondrüsen", "cancer des glandes endocrines"},
	"thyroid":        {"cáncer de tiroides", "Schilddrüsenkrebs", "cancer de la thyroïde"},
	"adrenal":        {"cáncer suprarrenal", "Nebennierenkrebs", "cancer de la surrénale"},
	"neuroblastoma":  {"neuroblastoma", "Neuroblastom", "neuroblastome"},
	"neuroendocrine": {"tumor neuroendocrino", "neuroendokriner Tumor", "tumeur neuroendocrine"},

	"sarcoma":                  {"sarcoma", "Sarkom", "sarcome"},
	"bone":                     {"cáncer de hueso", "Knochenkrebs", "cancer des os"},
	"soft-tissue-sarcoma":      {"sarcoma de partes blandas", "Weichteilsarkom", "sarcome des tissus mous"},
	"gastrointestinal-stromal": {"tumor del estroma gastrointestinal", "gastrointestinaler Stromatumor", "tumeur stromale gastro-intestinale"},
	"kaposi-sarcoma":           {"sarcoma de Kaposi", "Kaposi-Sarkom", "sarcome de Kaposi"},

	"unknown-primary": {"cáncer de origen desconocido", "Krebs mit unbekanntem Ursprung", "cancer d'origine inconnue"},
}
