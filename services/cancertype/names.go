package cancertype

import "slices"

// Names returns what people call the type in English, Spanish, German and French, its Display first. Accents and case are as
// in writing; no two types share a name.
func Names(code string) []string {
	t, ok := Lookup(code)
	if !ok {
		return nil
	}
	return slices.Concat([]string{t.Display}, names[code])
}

// names are the words beside Display that people search with, by code. Only words that mean nothing but the cancer stand
// alone, and those organs that are asked for so.
var names = map[string][]string{
	"any": {"cancer", "cancers", "all cancers", "cáncer", "cualquier cáncer", "Krebs", "Krebserkrankung", "alle Krebsarten", "tous les cancers", "oncology", "oncología", "Onkologie", "oncologie"},

	"breast":                 {"breast", "breast cancers", "mammary carcinoma", "mama", "cáncer de mama", "cáncer de seno", "Brustkrebs", "Mammakarzinom", "cancer du sein"},
	"breast-male":            {"male breast cancer", "cáncer de mama masculino", "Brustkrebs beim Mann", "cancer du sein chez l'homme"},
	"breast-in-situ":         {"DCIS", "LCIS", "ductal carcinoma in situ", "lobular carcinoma in situ", "carcinoma ductal in situ", "duktales Carcinoma in situ", "carcinome canalaire in situ"},
	"breast-triple-negative": {"triple negative", "TNBC", "triple negativo", "triple negativer Brustkrebs", "triple négatif"},
	"breast-inflammatory":    {"IBC", "cáncer de mama inflamatorio", "inflammatorischer Brustkrebs", "cancer du sein inflammatoire"},

	"haematological":                {"blood cancers", "haematological cancer", "hematological cancer", "hematologic cancer", "haematology", "hematology", "cáncer de sangre", "cáncer de la sangre", "cáncer hematológico", "Blutkrebs", "Hämatologie", "cancer du sang", "hématologie"},
	"leukaemia":                     {"leukemia", "leukaemias", "leukemias", "leucemia", "leucemias", "Leukämie", "Leukaemie", "Leukämien", "leucémie", "leucémies"},
	"acute-lymphoblastic-leukaemia": {"acute lymphoblastic leukemia", "acute lymphocytic leukemia", "leucemia linfoblástica aguda", "akute lymphatische Leukämie", "leucémie aiguë lymphoblastique", "leucémie lymphoblastique aiguë"},
	"chronic-lymphocytic-leukaemia": {"CLL", "chronic lymphocytic leukemia", "leucemia linfocítica crónica", "chronische lymphatische Leukämie", "leucémie lymphoïde chronique"},
	"hairy-cell-leukaemia":          {"hairy cell leukemia", "leucemia de células pilosas", "tricoleucemia", "Haarzellleukämie", "leucémie à tricholeucocytes"},
	"acute-myeloid-leukaemia":       {"AML", "acute myeloid leukemia", "leucemia mieloide aguda", "akute myeloische Leukämie", "leucémie aiguë myéloïde", "leucémie myéloïde aiguë"},
	"chronic-myeloid-leukaemia":     {"CML", "chronic myeloid leukemia", "leucemia mieloide crónica", "chronische myeloische Leukämie", "leucémie myéloïde chronique"},
	"lymphoma":                      {"lymphomas", "linfoma", "linfomas", "Lymphom", "Lymphome", "Lymphdrüsenkrebs", "lymphomes"},
	"hodgkin-lymphoma":              {"Hodgkin", "Hodgkins", "Hodgkin's disease", "Hodgkin disease", "linfoma de Hodgkin", "Morbus Hodgkin", "Hodgkin Lymphom", "lymphome de Hodgkin", "lymphome hodgkinien"},
	"non-hodgkin-lymphoma":          {"NHL", "non Hodgkin", "linfoma no Hodgkin", "Non Hodgkin Lymphom", "lymphome non hodgkinien"},
	"follicular-lymphoma":           {"linfoma folicular", "follikuläres Lymphom", "lymphome folliculaire"},
	"diffuse-large-b-cell-lymphoma": {"DLBCL", "linfoma difuso de células B grandes", "diffus großzelliges B Zell Lymphom", "lymphome diffus à grandes cellules B"},
	"mantle-cell-lymphoma":          {"linfoma de células del manto", "Mantelzelllymphom", "lymphome du manteau"},
	"t-cell-lymphoma":               {"T-cell lymphomas", "linfoma de células T", "T Zell Lymphom", "lymphome T"},
	"waldenstrom":                   {"Waldenström", "Waldenstrom", "Waldenström macroglobulinemia", "Waldenström's", "macroglobulinemia de Waldenström", "Morbus Waldenström", "maladie de Waldenström"},
	"myeloma":                       {"myeloma", "plasma cell myeloma", "mieloma", "mieloma múltiple", "Myelom", "multiples Myelom", "Plasmozytom", "myélome", "myélome multiple"},
	"myelodysplastic-syndrome":      {"MDS", "myelodysplasia", "myelodysplastic syndromes", "síndrome mielodisplásico", "myelodysplastisches Syndrom", "syndrome myélodysplasique"},
	"myeloproliferative-neoplasm":   {"MPN", "myelofibrosis", "polycythaemia vera", "polycythemia vera", "essential thrombocythaemia", "essential thrombocythemia", "neoplasia mieloproliferativa", "mielofibrosis", "myeloproliferative Neoplasie", "Myelofibrose", "néoplasme myéloprolifératif", "myélofibrose"},

	"thoracic":            {"thoracic cancer", "chest cancer", "cáncer torácico", "Krebs im Brustkorb", "cancer thoracique"},
	"lung":                {"lung", "lung cancers", "pulmón", "cáncer de pulmón", "Lungenkrebs", "Bronchialkarzinom", "cancer du poumon", "cancer bronchique"},
	"lung-non-small-cell": {"NSCLC", "non small cell", "cáncer de pulmón no microcítico", "nicht kleinzelliger Lungenkrebs", "cancer du poumon non à petites cellules"},
	"lung-small-cell":     {"SCLC", "small cell", "cáncer de pulmón microcítico", "kleinzelliger Lungenkrebs", "cancer du poumon à petites cellules"},
	"mesothelioma":        {"mesotelioma", "Mesotheliom", "mésothéliome", "asbestos cancer"},
	"thymus":              {"thymoma", "thymic cancer", "timoma", "Thymom", "Thymuskarzinom", "thymome"},

	"digestive":       {"digestive cancer", "gastrointestinal cancer", "cáncer digestivo", "cáncer gastrointestinal", "Krebs im Verdauungstrakt", "cancer digestif"},
	"oesophageal":     {"oesophageal", "esophageal", "esophageal cancer", "oesophagus cancer", "esophagus cancer", "cáncer de esófago", "Speiseröhrenkrebs", "Ösophaguskarzinom", "cancer de l'œsophage"},
	"stomach":         {"stomach", "gastric cancer", "cáncer de estómago", "cáncer gástrico", "Magenkrebs", "Magenkarzinom", "cancer de l'estomac", "cancer gastrique"},
	"small-intestine": {"small intestine cancer", "cáncer de intestino delgado", "Dünndarmkrebs", "cancer de l'intestin grêle"},
	"colorectal":      {"colorectal", "colorectal cancer", "bowel", "cáncer colorrectal", "colorrectal", "Darmkrebs", "Kolorektales Karzinom", "cancer colorectal"},
	"colon":           {"colon", "cáncer de colon", "Dickdarmkrebs", "Kolonkarzinom", "cancer du côlon"},
	"rectal":          {"rectum cancer", "cáncer de recto", "Enddarmkrebs", "Mastdarmkrebs", "Rektumkarzinom", "cancer du rectum"},
	"anal":            {"anus cancer", "cáncer anal", "cáncer de ano", "Analkrebs", "Analkarzinom", "cancer de l'anus"},
	"liver":           {"liver", "hepatocellular carcinoma", "HCC", "hepatoma", "cáncer de hígado", "Leberkrebs", "Leberkarzinom", "cancer du foie"},
	"bile-duct":       {"bile duct cancer", "gallbladder cancer", "cholangiocarcinoma", "colangiocarcinoma", "cáncer de vías biliares", "cáncer de vesícula biliar", "Gallengangskrebs", "Gallenblasenkrebs", "cholangiocarcinome", "cancer des voies biliaires", "cancer de la vésicule biliaire"},
	"pancreatic":      {"pancreatic", "pancreas", "pancreas cancer", "páncreas", "cáncer de páncreas", "Bauchspeicheldrüsenkrebs", "Pankreaskrebs", "Pankreaskarzinom", "cancer du pancréas"},

	"gynaecological":            {"gynaecological", "gynecological", "gynecologic cancer", "gynecological cancer", "cáncer ginecológico", "gynäkologischer Krebs", "Unterleibskrebs", "cancer gynécologique"},
	"cervical":                  {"cervical", "cervix cancer", "cáncer de cuello uterino", "cáncer cervicouterino", "cáncer de cérvix", "Gebärmutterhalskrebs", "Zervixkarzinom", "cancer du col de l'utérus"},
	"uterine":                   {"uterine", "uterine cancer", "uterus cancer", "endometrial cancer", "endometrial", "cáncer de útero", "cáncer de endometrio", "Gebärmutterkrebs", "Gebärmutterkörperkrebs", "Endometriumkarzinom", "cancer de l'utérus", "cancer de l'endomètre"},
	"ovarian":                   {"ovarian", "ovarian cancer", "ovary cancer", "fallopian tube cancer", "cáncer de ovario", "Eierstockkrebs", "Ovarialkarzinom", "cancer de l'ovaire", "cancer des ovaires"},
	"vulvar":                    {"vulva cancer", "cáncer de vulva", "Vulvakrebs", "Vulvakarzinom", "cancer de la vulve"},
	"vaginal":                   {"vagina cancer", "cáncer de vagina", "Scheidenkrebs", "Vaginalkarzinom", "cancer du vagin"},
	"gestational-trophoblastic": {"gestational trophoblastic disease", "choriocarcinoma", "molar pregnancy", "coriocarcinoma", "Chorionkarzinom", "choriocarcinome"},

	"urological":          {"urological", "urologic cancer", "cáncer urológico", "urologischer Krebs", "cancer urologique"},
	"prostate":            {"prostate", "próstata", "cáncer de próstata", "Prostata", "Prostatakrebs", "Prostatakarzinom", "cancer de la prostate"},
	"testicular":          {"testicular", "testicle cancer", "testis cancer", "cáncer de testículo", "Hodenkrebs", "cancer du testicule"},
	"penile":              {"penis cancer", "cáncer de pene", "Peniskrebs", "Peniskarzinom", "cancer du pénis"},
	"bladder":             {"bladder", "urothelial cancer", "cáncer de vejiga", "Blasenkrebs", "Harnblasenkarzinom", "cancer de la vessie"},
	"kidney":              {"kidney", "renal cancer", "renal cell carcinoma", "cáncer de riñón", "cáncer renal", "Nierenkrebs", "Nierenzellkarzinom", "cancer du rein"},
	"wilms":               {"Wilms", "Wilms tumor", "nephroblastoma", "tumor de Wilms", "nefroblastoma", "Nephroblastom", "tumeur de Wilms", "néphroblastome"},
	"renal-pelvis-ureter": {"ureter cancer", "renal pelvis cancer", "cáncer de uréter", "Harnleiterkrebs", "Nierenbeckenkrebs", "cancer de l'uretère"},

	"head-neck":      {"head and neck", "cáncer de cabeza y cuello", "Kopf Hals Tumor", "Kopf und Halskrebs", "cancer de la tête et du cou", "cancer ORL"},
	"oral":           {"oral cancer", "mouth cancer", "tongue cancer", "lip cancer", "cáncer oral", "cáncer de boca", "cáncer de lengua", "Mundhöhlenkrebs", "Zungenkrebs", "cancer de la bouche", "cancer de la langue"},
	"salivary-gland": {"salivary gland tumour", "salivary gland tumor", "cáncer de glándulas salivales", "Speicheldrüsenkrebs", "cancer des glandes salivaires"},
	"throat":         {"pharyngeal cancer", "tonsil cancer", "nasopharyngeal cancer", "cáncer de garganta", "cáncer de faringe", "Rachenkrebs", "Halskrebs", "cancer de la gorge", "cancer du pharynx"},
	"nasal":          {"nasal cancer", "sinus cancer", "nose cancer", "cáncer nasal", "Nasenkrebs", "Nasennebenhöhlenkrebs", "cancer du nez"},
	"larynx":         {"larynx cancer", "laryngeal cancer", "laryngectomy", "laryngectomee", "cáncer de laringe", "Kehlkopfkrebs", "cancer du larynx"},

	"skin":        {"skin cancers", "basal cell carcinoma", "squamous cell skin cancer", "cáncer de piel", "Hautkrebs", "Basaliom", "Basalzellkarzinom", "cancer de la peau"},
	"melanoma":    {"melanomas", "melanom", "malignes Melanom", "schwarzer Hautkrebs", "mélanome"},
	"merkel-cell": {"Merkel cell", "Merkel cell cancer", "carcinoma de células de Merkel", "Merkelzellkarzinom", "carcinome à cellules de Merkel"},

	"brain-nervous-system": {"brain", "brain tumour", "brain tumor", "brain tumours", "brain tumors", "brain cancer", "tumor cerebral", "cáncer cerebral", "Hirntumor", "Gehirntumor", "tumeur cérébrale", "tumeur au cerveau"},
	"glioma":               {"gliomas", "astrocytoma", "oligodendroglioma", "astrocitoma", "Gliom", "Astrozytom", "gliome", "astrocytome"},
	"glioblastoma":         {"GBM", "glioblastoma multiforme", "Glioblastom", "glioblastome"},
	"meningioma":           {"meningiomas", "Meningeom", "méningiome"},
	"spinal-cord":          {"spinal cord tumour", "spinal cord tumor", "spinal tumour", "spinal tumor", "tumor de médula espinal", "Rückenmarkstumor", "tumeur de la moelle épinière"},
	"pituitary":            {"pituitary", "pituitary tumor", "pituitary adenoma", "tumor de hipófisis", "Hypophysentumor", "tumeur hypophysaire"},

	"eye":            {"ocular cancer", "cáncer de ojo", "cáncer ocular", "Augenkrebs", "cancer de l'œil"},
	"uveal-melanoma": {"ocular melanoma", "eye melanoma", "choroidal melanoma", "melanoma uveal", "Aderhautmelanom", "mélanome uvéal"},
	"retinoblastoma": {"Retinoblastom", "rétinoblastome"},

	"endocrine":      {"endocrine cancer", "cáncer endocrino", "endokriner Krebs", "cancer endocrinien"},
	"thyroid":        {"thyroid", "tiroides", "cáncer de tiroides", "Schilddrüsenkrebs", "Schilddrüsenkarzinom", "thyroïde", "cancer de la thyroïde"},
	"adrenal":        {"adrenal tumour", "adrenal tumor", "adrenocortical carcinoma", "phaeochromocytoma", "pheochromocytoma", "cáncer suprarrenal", "Nebennierenkrebs", "cancer de la surrénale"},
	"neuroblastoma":  {"Neuroblastom", "neuroblastome"},
	"neuroendocrine": {"neuroendocrine", "neuroendocrine tumor", "neuroendocrine tumors", "neuroendocrine tumours", "neuroendocrine cancer", "carcinoid", "tumor neuroendocrino", "neuroendokriner Tumor", "tumeur neuroendocrine"},

	"sarcoma":                  {"sarcomas", "Sarkom", "Sarkome", "sarcome", "sarcomes"},
	"bone":                     {"osteosarcoma", "Ewing sarcoma", "Ewing", "chondrosarcoma", "cáncer de hueso", "cáncer óseo", "Knochenkrebs", "Osteosarkom", "cancer des os", "ostéosarcome"},
	"soft-tissue-sarcoma":      {"soft tissue sarcomas", "leiomyosarcoma", "liposarcoma", "rhabdomyosarcoma", "sarcoma de tejidos blandos", "Weichteilsarkom", "sarcome des tissus mous"},
	"gastrointestinal-stromal": {"GIST", "gastrointestinal stromal tumor", "tumor del estroma gastrointestinal", "gastrointestinaler Stromatumor", "tumeur stromale gastro-intestinale"},
	"kaposi-sarcoma":           {"Kaposi", "Kaposi's sarcoma", "sarcoma de Kaposi", "Kaposi Sarkom", "sarcome de Kaposi"},

	"unknown-primary": {"unknown primary", "CUP syndrome", "occult primary", "cáncer de origen desconocido", "CUP Syndrom", "Krebs mit unbekanntem Primärtumor", "cancer de site primitif inconnu", "cancer primitif inconnu"},
}
