package match

import (
	"strings"

	"golang.org/x/text/language/display"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

func spanish() *tongue {
	return &tongue{
		tag: "es", and: y, decimal: ",", languages: display.Spanish.Languages(),
		texts: [texts]string{
			intakeLapsed:    "No admite a nadie por ahora: nadie que lo facilite tiene una licencia vigente.",
			intakeNone:      "No admite a nadie por ahora.",
			intakeFull:      "Todas las plazas están ocupadas y no hay lista de espera.",
			intakeWaitlist:  "Todas las plazas están ocupadas; %[1]s.",
			intakeBegun:     "Grupo cerrado que empezó el %[1]s; pregunte si todavía admite a alguien.",
			intakeScreening: "Admite a personas nuevas tras una entrevista previa.",
			intakeOpen:      "Admite a personas nuevas.",

			crisisLed:        "Dirigido por un profesional, como requiere un malestar alto.",
			crisisUnlicensed: "Dice estar dirigido por un profesional; no se ha verificado ninguna licencia.",
			crisisCoLed:      "Dirigido por un par y un profesional juntos.",
			crisisNotLed:     "No lo dirige un profesional, como requieren un malestar alto o un riesgo de autolesión.",

			kindWanted: "Es %[1]s, como se desea.",
			kindOther:  "Es %[1]s, que no está entre los tipos deseados.",

			forMen:       "Para hombres.",
			forWomen:     "Para mujeres.",
			forEverybody: "Para todo el mundo.",
			forPeople:    "Para %[1]s.",
			forPeopleAsk: "Para %[1]s; pregunte si también se admite a %[2]s.",

			ageNotStated: "Solo admite edades: %[1]s; no consta la edad de la persona.",
			ageWithin:    "Admite edades: %[1]s; la persona tiene %[2]s.",
			ageOutside:   "Solo admite edades: %[1]s; la persona tiene %[2]s.",

			cancerUnsaid: "No indica para qué cáncer es.",
			cancerOpen:   "Abierto a personas con %[1]s.",
			cancerOther:  "Trata de %[1]s, no de %[2]s.",

			languageUnsaid:      "No indica en qué idioma se reúne.",
			languageSpoken:      "Se reúne en %[1]s.",
			languageInterpreter: "Se reúne en %[1]s, con intérprete a petición.",
			languageOther:       "Se reúne en %[1]s, no en %[2]s.",

			formatWanted: "Se reúne %[1]s.",
			formatOther:  "Se reúne solo %[1]s.",

			travelNone:   "No hace falta desplazarse.",
			travelUnsaid: "No indica dónde se reúne.",
			travelWithin: "A %[1]s, dentro de %[2]s.",
			travelBeyond: "A %[1]s; la persona puede desplazarse %[2]s.",

			costFree:      "Es gratuito.",
			costDonation:  "Cuesta lo que cada uno quiera dar.",
			costUnsaid:    "No indica cuánto cuesta.",
			costPaid:      "Cuesta %[1]s por sesión, que paga %[2]s.",
			costFeeUnsaid: "Tiene un precio, pero no indica cuál.",
			costWithin:    "Cuesta %[1]s por sesión, dentro de %[2]s.",
			costSliding:   "Cuesta %[1]s por sesión, menos con ingresos bajos; el límite de la persona es %[2]s.",
			costBeyond:    "Cuesta %[1]s por sesión; el límite de la persona es %[2]s.",

			payerPays:      "%[1]s lo paga.",
			payerAsk:       "Acepta seguros; pregunte si %[1]s lo paga.",
			payerNotNeeded: "%[1]s no lo paga, pero el precio puede estar al alcance de la persona.",
			payerDoesNot:   "%[1]s no lo paga.",

			diagnosisUnsaid:   "No indica que trate del cáncer.",
			diagnosisExact:    "Trata precisamente de %[1]s.",
			diagnosisWider:    "Trata de %[1]s, que incluye %[2]s.",
			diagnosisAny:      "Para personas con cualquier cáncer.",
			diagnosisNarrower: "Trata solo de %[1]s, que puede ser más preciso que el diagnóstico indicado.",
			diagnosisOther:    "Trata de otro cáncer.",

			effectsAll:  "Trabaja sobre %[1]s.",
			effectsNone: "No indica que trabaje sobre %[1]s.",
			effectsSome: "Trabaja sobre %[1]s, pero no menciona %[2]s.",

			professionalFirst:      "Dirigido por un profesional, lo que va primero con este malestar (malestar %[1]s, umbral %[2]s).",
			professionalUnlicensed: "Dice estar dirigido por un profesional; no se ha verificado ninguna licencia (malestar %[1]s, umbral %[2]s).",
			professionalTogether:   "Dirigido por un par y un profesional juntos (malestar %[1]s, umbral %[2]s).",
			professionalAfter:      "No lo dirige un profesional, por eso va después de los que sí (malestar %[1]s, umbral %[2]s).",

			phaseHers:  "Para personas en su misma fase: %[1]s.",
			phaseEvery: "Para todas las fases.",
			phaseOther: "Para otras fases: %[1]s.",

			amongShared:    "Pensado para %[1]s.",
			amongEverybody: "Para todo el mundo, no en particular para las personas con quienes quisiera estar.",
			amongAsk:       "Pensado para %[1]s; pregunte si le conviene.",
			amongOther:     "Pensado para %[1]s, que no es lo que se pidió.",

			ageMeant:    "Pensado para edades: %[1]s; la persona tiene %[2]s.",
			ageFlexible: "Pensado para edades: %[1]s, con flexibilidad; la persona tiene %[2]s.",
			ageFar:      "Pensado para edades: %[1]s, lejos de los %[2]s de la persona.",

			sizeWanted:    "Un grupo %[1]s, como se desea.",
			sizeUnlimited: "Tantas personas como quieran venir.",
			sizeOther:     "Un grupo %[1]s; la persona preferiría uno %[2]s.",

			accessAll:     "Tiene todo lo que la persona necesita para participar.",
			accessMissing: "No menciona %[1]s; pregunte.",

			seatUnlimited: "Las plazas no están limitadas.",
			seatUnsaid:    "No indica si hay alguna plaza libre.",
			seatOne:       "Hay una plaza libre.",
			seatSome:      "Hay %[1]s plazas libres.",
			seatWaitlist:  "No hay plazas libres; %[1]s.",
			seatNone:      "No hay plazas libres.",

			proximityHome: "Se puede participar desde casa.",
			proximityAway: "A %[1]s.",

			sessionAnytime: "Abierto a cualquier hora.",
			sessionNone:    "Todavía no hay ninguna sesión prevista.",
			sessionToday:   "Próxima sesión en menos de un día.",
			sessionIn:      "Próxima sesión dentro de %[1]s.",

			timesAnytime: "Abierto a cualquier hora.",
			timesUnsaid:  "No se conocen sus horarios.",
			timesAll:     "Se reúne a horas que le convienen.",
			timesSome:    "De sus próximas sesiones (%[2]s), %[1]s en horas que le convienen.",
			timesNone:    "Se reúne a otras horas que las que le convienen.",

			feedbackHelped: "Quienes participaron dicen que les ayudó.",
			feedbackPartly: "Quienes participaron dicen que les ayudó en parte.",
			feedbackLittle: "Quienes participaron dicen que les ayudó poco.",

			noteCrisis:         "Hable hoy con la persona: las líneas de crisis de abajo están abiertas para ella y para usted. Un grupo por sí solo no basta.",
			noteSelfHarm:       "Con riesgo de autolesión, los grupos dirigidos por profesionales van primero.",
			noteDistress:       "El malestar %[1]s alcanza o supera el umbral de %[2]s: los grupos dirigidos por profesionales van primero.",
			noteNoProfessional: "Ningún grupo dirigido por un profesional cumple todas las necesidades: considere también la atención individual.",
			noteNothing:        "El directorio todavía no tiene ningún grupo que admita a personas nuevas cerca de estas necesidades: amplíe la distancia, los formatos o los idiomas, o envíe la derivación sin grupo, para que cualquier entidad pueda asumirla.",
			noteNoneSuits:      "Ningún grupo cumple todas las necesidades. Los más cercanos dicen en qué fallan; una derivación sin grupo puede asumirla cualquier entidad.",
			noteFew:            "Pocos grupos cumplen todas las necesidades. Los más cercanos dicen en qué fallan.",

			nothing:       "nada en particular",
			waitNobody:    "la persona sería la primera de la lista de espera",
			waitOne:       "ya espera una persona",
			waitMany:      "ya esperan %[1]s personas",
			agesFrom:      "a partir de %[1]s años",
			agesTo:        "hasta %[1]s años",
			agesBetween:   "de %[1]s a %[2]s años",
			oneDay:        "1 día",
			days:          "%[1]s días",
			oneSession:    "1 sesión",
			sessions:      "%[1]s sesiones",
			roundTheClock: "las 24 horas, todos los días",
			dayAndEvening: "todos los días, de día y por la tarde",
			findAHelpline: "Find a Helpline: líneas de crisis de todos los países",
		},
		kinds: map[groupsv1.Group_Kind]string{
			groupsv1.Group_KIND_UNSPECIFIED: "de un tipo no indicado",
			groupsv1.Group_PEER_SUPPORT:     "un grupo de apoyo entre pares",
			groupsv1.Group_GROUP_THERAPY:    "terapia de grupo",
			groupsv1.Group_PEER_MATCHING:    "apoyo entre pares de persona a persona",
			groupsv1.Group_ONLINE_COMMUNITY: "una comunidad en línea",
			groupsv1.Group_EDUCATION:        "una clase o un taller",
		},
		formats: map[groupsv1.Group_Format]string{
			groupsv1.Group_FORMAT_UNSPECIFIED: "de una forma no indicada",
			groupsv1.Group_IN_PERSON:          "en persona",
			groupsv1.Group_ONLINE:             "en línea",
			groupsv1.Group_HYBRID:             "en persona, con otras personas en línea",
			groupsv1.Group_PHONE:              "por teléfono",
			groupsv1.Group_ASYNCHRONOUS:       "por escrito, a cualquier hora",
		},
		phases: map[groupsv1.Group_Phase]string{
			groupsv1.Group_NEWLY_DIAGNOSED: "diagnóstico reciente",
			groupsv1.Group_IN_TREATMENT:    "en tratamiento",
			groupsv1.Group_AFTER_TREATMENT: "después del tratamiento",
			groupsv1.Group_METASTATIC:      "enfermedad metastásica",
			groupsv1.Group_END_OF_LIFE:     "final de la vida",
			groupsv1.Group_BEREAVEMENT:     "duelo",
		},
		sideEffects: map[groupsv1.Group_SideEffect]string{
			groupsv1.Group_FATIGUE:               "la fatiga",
			groupsv1.Group_LYMPHOEDEMA:           "el linfedema",
			groupsv1.Group_NEUROPATHY:            "la neuropatía",
			groupsv1.Group_FEAR_OF_RECURRENCE:    "el miedo a la recaída",
			groupsv1.Group_FERTILITY:             "la fertilidad",
			groupsv1.Group_PAIN:                  "el dolor",
			groupsv1.Group_COGNITIVE_CHANGES:     "los cambios cognitivos",
			groupsv1.Group_SLEEP_PROBLEMS:        "los problemas de sueño",
			groupsv1.Group_ANXIETY:               "la ansiedad",
			groupsv1.Group_DEPRESSION:            "la depresión",
			groupsv1.Group_BODY_IMAGE:            "la imagen corporal",
			groupsv1.Group_SEXUAL_HEALTH:         "la salud sexual",
			groupsv1.Group_MENOPAUSE:             "la menopausia",
			groupsv1.Group_OSTOMY:                "la vida con una ostomía",
			groupsv1.Group_SWALLOWING_AND_SPEECH: "la deglución y el habla",
			groupsv1.Group_NUTRITION:             "la nutrición",
			groupsv1.Group_INCONTINENCE:          "la incontinencia",
			groupsv1.Group_HEART_AND_LUNG:        "el corazón y los pulmones",
			groupsv1.Group_BONE_HEALTH:           "la salud de los huesos",
			groupsv1.Group_HAIR_AND_SKIN:         "el cabello y la piel",
			groupsv1.Group_GRAFT_VERSUS_HOST:     "la enfermedad injerto contra huésped",
			groupsv1.Group_FINANCIAL_STRAIN:      "las dificultades económicas",
			groupsv1.Group_RETURN_TO_WORK:        "la vuelta al trabajo",
		},
		audiences: map[groupsv1.Group_Audience]string{
			groupsv1.Group_PATIENTS:             "pacientes",
			groupsv1.Group_SURVIVORS:            "supervivientes",
			groupsv1.Group_CAREGIVERS:           "personas cuidadoras",
			groupsv1.Group_FAMILY:               "familiares",
			groupsv1.Group_CHILDREN_OF_PATIENTS: "hijos de pacientes",
			groupsv1.Group_BEREAVED:             "personas en duelo",
		},
		demographics: map[groupsv1.Group_Demographic]string{
			groupsv1.Group_YOUNG_ADULTS:     "adultos jóvenes",
			groupsv1.Group_WOMEN:            "mujeres",
			groupsv1.Group_MEN:              "hombres",
			groupsv1.Group_LGBTQ:            "personas LGTBQ+",
			groupsv1.Group_PARENTS:          "madres y padres",
			groupsv1.Group_VETERANS:         "veteranos",
			groupsv1.Group_ETHNIC_COMMUNITY: "una comunidad étnica",
			groupsv1.Group_FAITH_COMMUNITY:  "una comunidad de fe",
			groupsv1.Group_TEENAGERS:        "adolescentes",
			groupsv1.Group_OLDER_ADULTS:     "personas mayores",
		},
		accessibility: map[groupsv1.Group_Accessibility]string{
			groupsv1.Group_STEP_FREE:          "acceso sin escalones",
			groupsv1.Group_ACCESSIBLE_TOILET:  "aseo accesible",
			groupsv1.Group_ACCESSIBLE_PARKING: "aparcamiento accesible",
			groupsv1.Group_HEARING_LOOP:       "bucle magnético",
			groupsv1.Group_SIGN_LANGUAGE:      "lengua de signos",
			groupsv1.Group_LIVE_CAPTIONS:      "subtítulos en directo",
			groupsv1.Group_PUBLIC_TRANSPORT:   "transporte público",
			groupsv1.Group_CHILDCARE:          "cuidado de niños",
			groupsv1.Group_LARGE_PRINT:        "letra grande",
			groupsv1.Group_FRAGRANCE_FREE:     "sala sin perfumes",
			groupsv1.Group_INTERPRETER:        "intérprete",
		},
		sizes: map[groupsv1.Group_SizeClass]string{
			groupsv1.Group_SMALL: "pequeño", groupsv1.Group_MEDIUM: "mediano", groupsv1.Group_LARGE: "grande",
		},
	}
}

// y is "e" before the sound of i.
func y(next string) string {
	next = strings.ToLower(next)
	if strings.HasPrefix(next, "i") || strings.HasPrefix(next, "í") || strings.HasPrefix(next, "hi") && !strings.HasPrefix(next, "hie") {
		return " e "
	}
	return " y "
}
