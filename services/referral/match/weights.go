package match

// Weights says how much each soft criterion counts against the others.
type Weights struct {
	Version string
	Points  map[string]float64 // by criterion code
}

func (w Weights) of(code string) float64 { return w.Points[code] }

// Codes are the soft criteria that weights are given to.
func Codes() []string {
	return []string{
		codeDiagnosis, codeSideEffects, codeProfessional, codePhase, codeDemographics, codeTimes, codeSeat, codeProximity, codeSoonest,
		codeAccessibility, codeAge, codeSize, codeFeedback,
	}
}

// The codes of the criteria, as the answer names them. They are stable.
const (
	codeIntake       = "intake"
	codeProfessional = "professional"
	codeKind         = "kind"
	codeAudience     = "audience"
	codeAgeLimit     = "age_limit"
	codeCancer       = "cancer"
	codeLanguage     = "language"
	codeFormat       = "format"
	codeTravel       = "travel"
	codeCost         = "cost"
	codePayer        = "payer"

	codeDiagnosis     = "diagnosis"
	codeSideEffects   = "side_effects"
	codePhase         = "phase"
	codeDemographics  = "demographics"
	codeAge           = "age"
	codeSize          = "size"
	codeTimes         = "times"
	codeSeat          = "seat"
	codeSoonest       = "soonest_session"
	codeProximity     = "proximity"
	codeAccessibility = "accessibility"
	codeFeedback      = "feedback"
)
