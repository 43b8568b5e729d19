package match

// text is one of the sentences, or parts of them, that findings and notes are made of.
type text int

// The texts. Parts stand in a sentence and end without a full stop.
const (
	intakeLapsed text = iota
	intakeNone
	intakeFull
	intakeWaitlist
	intakeBegun
	intakeScreening
	intakeOpen

	crisisLed
	crisisUnlicensed
	crisisCoLed
	crisisNotLed

	kindWanted
	kindOther

	forMen
	forWomen
	forEverybody
	forPeople
	forPeopleAsk

	ageNotStated
	ageWithin
	ageOutside

	cancerUnsaid
	cancerOpen
	cancerOther

	languageUnsaid
	languageSpoken
	languageInterpreter
	languageOther

	formatWanted
	formatOther

	travelNone
	travelUnsaid
	travelWithin
	travelBeyond

	costFree
	costDonation
	costUnsaid
	costPaid
	costFeeUnsaid
	costWithin
	costSliding
	costBeyond

	payerPays
	payerAsk
	payerNotNeeded
	payerDoesNot

	diagnosisUnsaid
	diagnosisExact
	diagnosisWider
	diagnosisAny
	diagnosisNarrower
	diagnosisOther

	effectsAll
	effectsNone
	effectsSome

	professionalFirst
	professionalUnlicensed
	professionalTogether
	professionalAfter

	phaseHers
	phaseEvery
	phaseOther

	amongShared
	amongEverybody
	amongAsk
	amongOther

	ageMeant
	ageFlexible
	ageFar

	sizeWanted
	sizeUnlimited
	sizeOther

	accessAll
	accessMissing

	seatUnlimited
	seatUnsaid
	seatOne
	seatSome
	seatWaitlist
	seatNone

	proximityHome
	proximityAway

	sessionAnytime
	sessionNone
	sessionToday
	sessionIn

	timesAnytime
	timesUnsaid
	timesAll
	timesSome
	timesNone

	feedbackHelped
	feedbackPartly
	feedbackLittle

	noteCrisis
	noteSelfHarm
	noteDistress
	noteNoProfessional
	noteNothing
	noteNoneSuits
	noteFew

	// Parts.
	nothing
	waitNobody
	waitOne
	waitMany
	agesFrom
	agesTo
	agesBetween
	oneDay
	days
	oneSession
	sessions
	roundTheClock
	dayAndEvening
	findAHelpline

	texts // how many there are
)
