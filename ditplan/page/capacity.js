"use strict";
// capacity: the fleet that meets the objective.
