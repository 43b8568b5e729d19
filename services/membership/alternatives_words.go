package membership

// A note is something to know about alternatives.
type note int

const (
	noteHardToBear  note = iota // the group distressed her
	noteLedFirst                // groups that professionals lead come first
	noteNobodyLeads             // no professional leads one that suits
	noteNoGroup                 // no group suits
	noteFewGroups               // few suit, some come near
	notes                       // how many there are
)

// said is a note as it is said to her, and to who cares for her.
type said struct{ toHer, ofHer string }

// wordsOf returns the words of the notes in a language, a base tag; English for any that they are not written in.
func wordsOf(language string) [notes]said {
	switch language {
	case "es":
		return [notes]said{
			{"Si se te hace difícil, habla hoy con alguien: las líneas de crisis de abajo están para ti.", "El grupo le causó angustia. Habla hoy con esta persona: las líneas de crisis de abajo están abiertas para ambos."},
			{"Los grupos que dirigen profesionales van primero, porque el último te causó angustia.", "Los grupos que dirigen profesionales van primero."},
			{"Ningún grupo dirigido por profesionales cumple todo lo que necesitas: pregunta también a tu organización por atención individual.", "Ningún grupo dirigido por profesionales cumple todo lo que necesita: considera también la atención individual."},
			{"Ningún otro grupo abierto cumple todo lo que necesitas: mira los grupos que se acercan y los recursos, o pregunta a tu organización.", "Ningún otro grupo abierto cumple todo lo que necesita: mira los grupos que se acercan y los recursos."},
			{"Pocos grupos cumplen todo lo que necesitas. Los que solo se acercan dicen qué les falta.", "Pocos grupos cumplen todo lo que necesita. Los que solo se acercan dicen qué les falta."},
		}
	case "de":
		return [notes]said{
			{"Wenn es schwer auszuhalten ist, sprich noch heute mit jemandem: Die Krisentelefone unten sind für dich da.", "Die Gruppe hat sie belastet. Sprich noch heute mit ihr: Die Krisentelefone unten sind für euch beide da."},
			{"Gruppen mit fachlicher Leitung stehen vorn, weil die letzte dich belastet hat.", "Gruppen mit fachlicher Leitung stehen vorn."},
			{"Keine Gruppe mit fachlicher Leitung erfüllt alles, was du brauchst: Frag deine Organisation auch nach Einzelbegleitung.", "Keine Gruppe mit fachlicher Leitung erfüllt alles, was sie braucht: Denk auch an Einzelbegleitung."},
			{"Keine andere offene Gruppe erfüllt alles, was du brauchst: Sieh dir die Gruppen, die nahe kommen, und die Angebote an, oder frag deine Organisation.", "Keine andere offene Gruppe erfüllt alles, was sie braucht: Sieh dir die Gruppen, die nahe kommen, und die Angebote an."},
			{"Wenige Gruppen erfüllen alles, was du brauchst. Bei denen, die nur nahe kommen, steht, was fehlt.", "Wenige Gruppen erfüllen alles, was sie braucht. Bei denen, die nur nahe kommen, steht, was fehlt."},
		}
	case "fr":
		return [notes]said{
			{"Si c'est difficile à supporter, parlez à quelqu'un dès aujourd'hui : les lignes d'écoute ci-dessous sont là pour vous.", "Le groupe lui a causé de la détresse. Parlez-lui dès aujourd'hui : les lignes d'écoute ci-dessous sont là pour vous deux."},
			{"Les groupes animés par des professionnels viennent en premier, parce que le dernier vous a causé de la détresse.", "Les groupes animés par des professionnels viennent en premier."},
			{"Aucun groupe animé par un professionnel ne répond à tous vos besoins : demandez aussi à votre organisation un suivi individuel.", "Aucun groupe animé par un professionnel ne répond à tous ses besoins : pensez aussi à un suivi individuel."},
			{"Aucun autre groupe ouvert ne répond à tous vos besoins : voyez les groupes qui s'en approchent et les ressources, ou demandez à votre organisation.", "Aucun autre groupe ouvert ne répond à tous ses besoins : voyez les groupes qui s'en approchent et les ressources."},
			{"Peu de groupes répondent à tous vos besoins. Ceux qui s'en approchent seulement disent ce qui leur manque.", "Peu de groupes répondent à tous ses besoins. Ceux qui s'en approchent seulement disent ce qui leur manque."},
		}
	}
	return [notes]said{
		{"If it is hard to bear, talk with somebody today: the crisis lines below are there for you.", "The group distressed her. Talk with her today: the crisis lines below are open to her and to you."},
		{"Groups that professionals lead come first, because the last one distressed you.", "Groups led by professionals come first."},
		{"No group led by a professional meets all that you need: ask your organization about individual care too.", "No group led by a professional meets all that she needs: consider individual care as well."},
		{"No other open group meets all that you need: see the groups that come near and the resources, or ask your organization.", "No other open group meets all that she needs: see the near misses and the resources."},
		{"Few groups meet all that you need. Those that only come near say what they lack.", "Few groups meet all that she needs. The near misses say what they fail."},
	}
}
