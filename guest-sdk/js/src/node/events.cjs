// For `require`, which gives the class itself.
const { EventEmitter } = require("../events.js");
module.exports = Object.assign(EventEmitter, { EventEmitter });
