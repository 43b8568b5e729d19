package match

// Weights says how much each soft criterion counts against the others.
type Weights struct {
	Version string
	Points  map[string]float64 // by criterion code
}

func (w Weights) of(code string) float64 { return w.Points[code] }

// Current returns the weights in use. A change gets a new version, so that an old recommendation can be explained.
func Current() Weights {
	return Weights{
		Version: "2026-11",
		Points: map[string]float64{
			codeDiagnosis:     25,
			codeSideEffects:   20,
			codeProfessional:  20,
			codePhase:         12,
			codeDemographics:  10,
			codeTimes:         10,
			codeSeat:          10,
			codeProximity:     10,
			codeSoonest:       8,
			codeAccessibility: 8,
			codeAge:           6,
			codeSize:          4,
		},
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
)
