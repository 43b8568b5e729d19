module cairn.care/bench

go 1.26.0

require (
	cairn.care/gen v0.0.0
	cairn.care/services v0.0.0
)

replace (
	cairn.care/gen => ../gen
	cairn.care/services => ../services
)
