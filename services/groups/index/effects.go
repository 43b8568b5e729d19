package index

// effects are what people call side effects in English, Spanish, German and French, by their names in the API. No two share a
// word or phrase, and none is a word that groups of every kind use.
var effects = map[string][]string{
	"FATIGUE":               {"fatigue", "tiredness", "exhaustion", "cansancio", "fatiga", "Fatigue-Syndrom", "Erschöpfung", "Müdigkeit"},
	"LYMPHOEDEMA":           {"lymphoedema", "lymphedema", "lymphoedemas", "lymphedemas", "linfedema", "Lymphödem", "Lymphoedem", "lymphœdème"},
	"NEUROPATHY":            {"neuropathy", "peripheral neuropathy", "CIPN", "neuropatía", "Neuropathie", "Polyneuropathie"},
	"FEAR_OF_RECURRENCE":    {"fear of recurrence", "recurrence", "scanxiety", "miedo a la recaída", "recidiva", "Rezidivangst", "peur de la récidive"},
	"FERTILITY":             {"fertility", "infertility", "fertilidad", "Fruchtbarkeit", "Kinderwunsch", "fertilité"},
	"PAIN":                  {"pain", "chronic pain", "dolor", "Schmerzen", "Schmerz", "douleur", "douleurs"},
	"COGNITIVE_CHANGES":     {"cognitive changes", "chemo brain", "chemobrain", "brain fog", "cambios cognitivos", "Chemogehirn", "troubles cognitifs"},
	"SLEEP_PROBLEMS":        {"sleep", "insomnia", "sleep problems", "insomnio", "Schlaf", "Schlafstörungen", "sommeil", "insomnie"},
	"ANXIETY":               {"anxiety", "ansiedad", "Angst", "Ängste", "anxiété"},
	"DEPRESSION":            {"depression", "depresión", "Depressionen", "dépression"},
	"BODY_IMAGE":            {"body image", "imagen corporal", "Körperbild", "image corporelle", "image du corps"},
	"SEXUAL_HEALTH":         {"sexual health", "intimacy", "sexuality", "salud sexual", "sexualidad", "Sexualität", "sexualité", "santé sexuelle"},
	"MENOPAUSE":             {"menopause", "early menopause", "menopausia", "Wechseljahre", "ménopause"},
	"OSTOMY":                {"ostomy", "stoma", "colostomy", "ileostomy", "urostomy", "ostomía", "estoma", "colostomía", "künstlicher Darmausgang", "stomie"},
	"SWALLOWING_AND_SPEECH": {"swallowing", "dysphagia", "disfagia", "Schluckstörung", "Schluckbeschwerden", "dysphagie"},
	"NUTRITION":             {"nutrition", "nutrición", "Ernährung"},
	"INCONTINENCE":          {"incontinence", "incontinencia", "Inkontinenz"},
	"HEART_AND_LUNG":        {"cardiotoxicity", "heart and lung", "shortness of breath", "cardiotoxicidad", "Atemnot", "essoufflement"},
	"BONE_HEALTH":           {"bone health", "osteoporosis", "osteoporose", "ostéoporose", "salud ósea"},
	"HAIR_AND_SKIN":         {"hair loss", "alopecia", "wigs", "caída del cabello", "Haarausfall", "perte de cheveux"},
	"GRAFT_VERSUS_HOST":     {"graft versus host", "GVHD", "injerto contra huésped", "GvHD-Erkrankung", "greffon contre hôte"},
	"FINANCIAL_STRAIN":      {"financial strain", "financial toxicity", "financial help", "ayuda económica", "Geldsorgen", "soucis financiers"},
	"RETURN_TO_WORK":        {"return to work", "back to work", "vuelta al trabajo", "Rückkehr in den Beruf", "Wiedereinstieg", "retour au travail"},
}
