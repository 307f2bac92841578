// For `require`, which gives the module itself.
module.exports = require("./process.js").default;
